package event

// Fork gives each of n branches its own batch of the open events: own copies,
// own outcomes. The branches stay on the batch under key, so that another
// attempt with the same key sees what each branch has done already: a branch
// that has an event is not given it again. Call Join when all branches have
// had their attempt.
func (b *Batch) Fork(key any, n int) []*Batch {
	branches := Memo(b, forkKey{key}, func() []*Batch {
		made := make([]*Batch, n)
		for i := range made {
			made[i] = b.branch()
		}
		return made
	})
	rows := make([]int32, 0, b.Len())
	for row, e := range b.Open() {
		rows = append(rows, int32(row))
		for _, branch := range branches {
			if branch.outcomes[row] == absent {
				branch.events[row] = e.Share()
				branch.outcomes[row] = Open
				branch.counts[Open]++
			}
		}
	}
	views := make([]*Batch, n)
	for i, branch := range branches {
		views[i] = &Batch{branch.core, rows}
	}
	return views
}

type forkKey struct{ key any }

// absent marks a row of a branch whose event has not come to the fork yet.
const absent = Outcome(255)

func (b *Batch) branch() *Batch {
	c := &core{
		events:   make([]Event, len(b.events)),
		outcomes: make([]Outcome, len(b.events)),
		spans:    b.spans,
		lane:     b.lane,
	}
	for i := range c.outcomes {
		c.outcomes[i] = absent
	}
	return &Batch{core: c}
}

// Join carries the branches' results back to the open events of b. An event
// that every branch has settled gets the worst of its outcomes (delivered
// somewhere and filtered elsewhere is delivered), and why. One that some branch could
// not deliver fails and stays open; one that no branch can do anything more
// with, and some branch refused, is refused.
func (b *Batch) Join(key any) {
	branches, _ := b.memos[forkKey{key}].([]*Batch)
	worst := make([]Outcome, 0, b.Len())
	rows := make([]int32, 0, b.Len())
	for row := range b.Open() {
		var out Outcome
		var refused, failed, why error
		seen, unsettled := false, false
		for _, branch := range branches {
			o := branch.outcomes[row]
			if o == absent {
				continue
			}
			seen = true
			switch o {
			case Open:
				unsettled = true
				if err := branch.Err(row); failed == nil {
					failed = err
				}
			case Refused:
				refused = branch.Err(row)
			default:
				if o > out {
					out, why = o, branch.Err(row)
				}
			}
		}
		switch {
		case !seen: // not forked in this attempt: it stays as it is
		case unsettled:
			b.Fail(row, failed)
		case refused != nil:
			b.Refuse(row, refused)
		default:
			if out > Delivered && why != nil {
				b.Fail(row, why) // for the source, which may be told
			}
			rows, worst = append(rows, int32(row)), append(worst, out)
		}
	}
	// Settling is told to the observer in runs, so equal neighbours go together.
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && worst[j] == worst[i] {
			j++
		}
		(&Batch{b.core, rows[i:j]}).SettleOpen(worst[i])
		i = j
	}
}
