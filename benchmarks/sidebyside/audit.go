package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// audit compares the audit route, from a topic that was filled before, with a
// bare loop.
func (b *bench) audit() error {
	if err := needs("KAFKA_BROKERS", "DATABASE_URL"); err != nil {
		return err
	}
	a, err := b.newAudit()
	if err != nil {
		return err
	}
	defer a.cluster.client.Close()
	defer a.database.conn.Close(b.ctx)
	defer a.cluster.remove(a.topic, a.topic+"-poison")
	for _, table := range []string{"", attributes} {
		count := or(b.events, map[bool]int{true: 600_000, false: 300_000}[table == ""])
		if err := a.fill(count); err != nil {
			return err
		}
		fmt.Printf("\n%d rows a round, attributes table %q; three partitions, a connection and one batch of up to 500 each, idempotent; counted in the table\n", count, table)
		err := b.alternate("audit "+or(table, "metadata"), []side{
			{"engine", func(int) (outcome, error) {
				return a.consume(table, b.engine, "run", filepath.Join(b.root, "benchmarks/pipelines/audit.yaml"))
			}},
			{"bare", func(int) (outcome, error) { return a.consume(table, b.bare, "audit") }},
		})
		if err != nil {
			return err
		}
	}
	return a.database.drop(b.ctx, events, attributes)
}

type audit struct {
	*bench
	cluster  *cluster
	database *database
	topic    string
	filled   int
	state    string // where the registry's ids are
}

func (b *bench) newAudit() (*audit, error) {
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	d, err := newDatabase(b.ctx)
	if err != nil {
		return nil, err
	}
	if err := d.drop(b.ctx, events, attributes); err != nil {
		return nil, err
	}
	return &audit{bench: b, cluster: c, database: d, state: filepath.Join(b.scratch, "audit")}, nil
}

// fill writes a topic with the generate route.
func (a *audit) fill(count int) error {
	if a.topic != "" {
		a.cluster.remove(a.topic, a.topic+"-poison")
	}
	a.topic, a.filled = fmt.Sprintf("bench-audit-%d", time.Now().UnixMilli()), count
	p, err := a.launch(map[string]string{"TOPIC": a.topic, "EVENTS": strconv.Itoa(count), "IN_FLIGHT": "4", "STATE_DIR": a.state},
		a.engine, "run", filepath.Join(a.root, "benchmarks/pipelines/generate.yaml"))
	if err != nil {
		return err
	}
	_, err = p.wait()
	return err
}

// consume runs one side until its group has committed the whole topic, and
// counts the rows.
func (a *audit) consume(table, command string, args ...string) (outcome, error) {
	if err := a.database.empty(a.ctx, events, attributes); err != nil {
		return outcome{}, err
	}
	group := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	before := a.serviceCPU()
	p, err := a.launch(map[string]string{
		"TOPIC": a.topic, "GROUP": group, "STATE_DIR": a.state, "TABLE": events, "ATTRIBUTES_TABLE": table,
	}, command, args...)
	if err != nil {
		return outcome{}, err
	}
	err = until(a.ctx, p, 200*time.Millisecond, 10*time.Minute, func() (bool, error) {
		n, err := a.cluster.committed(a.ctx, group, a.topic)
		return n == a.filled, err
	})
	p.stop()
	var o outcome
	use, waitErr := p.wait()
	if err != nil {
		return outcome{}, err
	}
	if waitErr != nil {
		return outcome{}, waitErr
	}
	o.use, o.services = use, a.serviceCPU().since(before)
	if o.events, o.seconds, err = a.database.written(a.ctx, events); err != nil {
		return outcome{}, err
	}
	if o.events != a.filled {
		return outcome{}, fmt.Errorf("%d rows are in the table, want %d", o.events, a.filled)
	}
	if n, err := a.attributeRows(table); err != nil || table != "" && n < a.filled {
		return outcome{}, fmt.Errorf("%d attributes of %d events are in their table: %w", n, a.filled, err)
	}
	return o, nil
}

func (a *audit) attributeRows(table string) (int, error) {
	if table == "" {
		return 0, nil
	}
	return a.database.count(a.ctx, table)
}
