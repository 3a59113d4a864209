package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"millrace/engine/event"
	"millrace/engine/stage"
	kafkares "millrace/stages/resource/kafka"
	kafkasink "millrace/stages/sink/kafka"
)

// stages is the engine's generator and its Kafka sink with nothing in between:
// it tells the cost of the sink from that of the engine.
func stages(ctx context.Context) error {
	events, err := number("EVENTS", 1_000_000)
	if err != nil {
		return err
	}
	inFlight, err := number("IN_FLIGHT", 4)
	if err != nil {
		return err
	}
	reader, err := content(events)
	if err != nil {
		return err
	}
	cluster, sink, err := kafkaSink(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	defer sink.Close(context.Background())
	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(inFlight)
	for {
		p, err := reader.Read(ctx)
		if errors.Is(err, io.EOF) {
			return writers.Wait()
		}
		if err != nil {
			return errors.Join(err, writers.Wait())
		}
		writers.Go(func() error { return write(ctx, sink, p) })
	}
}

func write(ctx context.Context, sink stage.Writer, p event.Parcel) error {
	for rest := p.Events; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		batch := event.NewBatch(rest[:min(size, len(rest))])
		if err := errors.Join(sink.Write(ctx, batch), batch.FirstErr(event.Open), batch.FirstErr(event.Refused)); err != nil {
			return err
		}
	}
	p.Done(event.Receipt{})
	return nil
}

func kafkaSink(ctx context.Context) (io.Closer, stage.Writer, error) {
	res := kafkares.Stage.New().(*kafkares.Config)
	res.Brokers, res.Registry = os.Getenv("KAFKA_BROKERS"), "embedded"
	cluster, err := res.Open(ctx, settings())
	if err != nil {
		return nil, nil, err
	}
	sink := kafkasink.Stage.New().(*kafkasink.Config)
	sink.Topic, sink.Partitions, sink.Key = os.Getenv("TOPIC"), 3, "correlation_id"
	sink.Value.Avro = stage.Path(os.Getenv("SCHEMA"))
	s := settings()
	s.Name, s.Resource = "kafka", func(string) (any, error) { return cluster, nil }
	w, err := sink.Open(ctx, s)
	return cluster, w, err
}
