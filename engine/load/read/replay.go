package read

import (
	"reflect"
	"strconv"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// maxJournal and maxEntries bound a run that is played again.
const (
	maxJournal = 256 << 20
	maxEntries = 5_000_000 // keys and values
)

// replayed makes a plan of the run in a journal's file. Problems have the places
// in that file.
func replayed(p load.Profile, found *stage.Problems) *load.Plan {
	if !reflect.DeepEqual(p, load.Profile{Journal: p.Journal}) {
		found.Add("journal", "has no place beside other keys: it says all there is to the load")
		return nil
	}
	file := string(p.Journal)
	data, err := load.ReadFile(file, maxJournal)
	if err != nil {
		found.Add("journal", "%s cannot be read: %v", file, err)
		return nil
	}
	d := &decoder{file: file, places: map[string]place{}, most: maxEntries}
	plan := d.recording(p, data)
	for _, f := range d.found {
		found.Add("journal", "%s", f)
	}
	if plan != nil {
		plan.Name = NameOf(p, "")
	}
	return plan
}

// recording makes a plan of what a journal's file holds; nil: something is
// wrong with it, which has been reported.
func (d *decoder) recording(p load.Profile, data []byte) *load.Plan {
	var rec load.Recording
	if root := d.document(data, "engine load journal writes one"); root != nil {
		d.value(reflect.ValueOf(&rec).Elem(), root, "", 0)
	}
	if len(d.found) > 0 {
		return nil
	}
	plans := map[int]*load.Plan{}
	known := map[string]*load.Plan{}
	for i, c := range rec.Changes {
		if c.Profile == nil {
			continue
		}
		text := c.Name + string(c.Profile.JSON())
		if known[text] == nil {
			known[text] = d.recorded(c, "changes."+strconv.Itoa(i)+".profile")
		}
		plans[i] = known[text]
	}
	if len(d.found) > 0 {
		return nil
	}
	var found stage.Problems
	plan := rec.Plan(p, plans, data, &found)
	d.take(found)
	return plan
}

// recorded makes a plan of a profile in a recording.
func (d *decoder) recorded(c load.Recorded, key string) *load.Plan {
	var found stage.Problems
	var plan *load.Plan
	if c.Profile.Journal != "" {
		found.Add(key+".journal", "cannot be played by a journal again; give %s itself", c.Profile.Journal)
	} else {
		var here stage.Problems
		plan = Compile(*c.Profile, &here)
		for _, f := range here.Found {
			found.Add(join(key, f.Key), "%s", f.Text)
		}
	}
	if plan != nil {
		plan.Name = c.Name
		if c.Hash != "" && plan.Hash() != c.Hash {
			found.Add(key, "was %s in that run and is %s now: a trace that it names has changed since; "+
				"leave hash out to play it all the same", c.Hash, plan.Hash())
		}
	}
	d.take(found)
	return plan
}
