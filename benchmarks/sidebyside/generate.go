package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// generate compares the generate route into real Kafka with bare loops.
func (b *bench) generate() error {
	if err := needs("KAFKA_BROKERS"); err != nil {
		return err
	}
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.client.Close()
	events := or(b.events, 4_000_000)
	fmt.Printf("%d events a round; Avro, snappy, acks all, idempotent, linger 0, one client; counted at the topic\n", events)
	inFlight, err := numbersOf("-in-flight", b.inFlight)
	if err != nil {
		return err
	}
	for _, n := range inFlight {
		fmt.Printf("\nin flight on each side: %d batches of up to 500\n", n)
		if err := b.alternate(fmt.Sprintf("generate in_flight=%d", n), b.producers(c, events, n)); err != nil {
			return err
		}
	}
	return nil
}

// producers are the sides that write to Kafka.
func (b *bench) producers(c *cluster, events, inFlight int) []side {
	pipeline := filepath.Join(b.root, "benchmarks/pipelines/generate.yaml")
	one := func(name, command string, args ...string) side {
		return side{name, func(round int) (outcome, error) { return b.produce(c, round, events, inFlight, command, args...) }}
	}
	return []side{
		one("engine", b.engine, "run", pipeline), one("bare", b.bare, "generate"), one("encoded", b.bare, "encoded"), one("stages", b.bare, "stages"),
	}
}

// produce runs one side into a topic of its own.
func (b *bench) produce(c *cluster, round, events, inFlight int, command string, args ...string) (outcome, error) {
	topic := fmt.Sprintf("bench-generate-%d-%d", round, time.Now().UnixMilli())
	if err := c.create(b.ctx, topic); err != nil {
		return outcome{}, err
	}
	defer c.remove(topic, topic+"-poison")
	before := b.serviceCPU()
	p, err := b.launch(map[string]string{
		"TOPIC": topic, "EVENTS": strconv.Itoa(events), "IN_FLIGHT": strconv.Itoa(inFlight), "STATE_DIR": filepath.Join(b.scratch, "generate"),
		"SCHEMA": filepath.Join(b.root, "schemas/log_event.avsc"),
	}, command, args...)
	if err != nil {
		return outcome{}, err
	}
	var o outcome
	if o.use, err = p.wait(); err != nil {
		return outcome{}, err
	}
	o.services = b.serviceCPU().since(before)
	if o.events, o.seconds, err = c.arrived(b.ctx, topic); err != nil {
		return outcome{}, err
	}
	if o.events != events {
		return outcome{}, fmt.Errorf("%d records are in the topic, want %d", o.events, events)
	}
	return o, nil
}
