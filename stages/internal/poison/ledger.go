package poison

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

// ledgerSuffix is behind a poison topic's name in the name of its ledger.
const ledgerSuffix = "-ledger"

// A Kafka topic cannot give up single records. Beside a poison topic there is
// therefore a topic with one small record for each that was dealt with; its
// key is the ID of the entry. It is made at the first of them, with no end to
// its retention: a mark that goes before its entry would bring that back.
// Records with the key auditKey are audits.
type mark struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`            // "replayed", "purged"
	Again bool      `json:"again,omitempty"` // it failed again, and stands further on
}

const auditKey = "audit"

// marks are the entries that were dealt with.
type marks map[place]mark

// ledger reads the ledger: marks, and audits.
func (t *topic) ledger(ctx context.Context) (marks, []stage.PoisonAudit, error) {
	dealt, audits := make(marks), []stage.PoisonAudit(nil)
	var damaged error
	err := each(ctx, t.kafka, t.client, t.place.Topic+ledgerSuffix, func(r *kgo.Record) {
		var err error
		if string(r.Key) == auditKey {
			var a stage.PoisonAudit
			err = json.Unmarshal(r.Value, &a)
			audits = append(audits, a)
		} else if p, ok := parsePlace(string(r.Key)); ok {
			var m mark
			err = json.Unmarshal(r.Value, &m)
			dealt[p] = m
		} else {
			err = fmt.Errorf("unknown key %q", r.Key)
		}
		if err != nil && damaged == nil {
			damaged = fmt.Errorf("the ledger %s is damaged at partition %d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	})
	if err != nil {
		return nil, nil, t.classify(err)
	}
	return dealt, audits, damaged
}

// write adds records to the ledger and waits for all of them.
func (t *topic) write(ctx context.Context, records []*kgo.Record) error {
	t.mu.Lock()
	made := t.ledgerMade
	t.mu.Unlock()
	if !made {
		if err := t.kafka.Ensure(ctx, t.place.Topic+ledgerSuffix, -1); err != nil {
			return err
		}
		t.mu.Lock()
		t.ledgerMade = true
		t.mu.Unlock()
	}
	return t.classify(t.client.ProduceSync(ctx, records...).FirstErr())
}

// Settle marks entries.
func (t *topic) Settle(ctx context.Context, fates []Fate) error {
	records := make([]*kgo.Record, 0, len(fates))
	for _, f := range fates {
		value, err := json.Marshal(mark{At: t.clock.Now().UTC(), What: f.What, Again: f.Again})
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Topic: t.place.Topic + ledgerSuffix, Key: []byte(f.ID), Value: value})
	}
	return named(t.place, t.write(ctx, records))
}

// Audit adds an audit.
func (t *topic) Audit(ctx context.Context, a stage.PoisonAudit) error {
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return named(t.place, t.write(ctx, []*kgo.Record{{Topic: t.place.Topic + ledgerSuffix, Key: []byte(auditKey), Value: value}}))
}

// Audits reads them.
func (t *topic) Audits(ctx context.Context) ([]stage.PoisonAudit, error) {
	_, audits, err := t.ledger(ctx)
	return audits, named(t.place, err)
}
