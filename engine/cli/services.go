package cli

import (
	"context"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"

	"millrace/engine/stage"
	"millrace/engine/state"
)

type brokerCommand struct {
	Listen   string `default:"127.0.0.1:9092" help:"Address of the broker."`
	Registry string `default:"127.0.0.1:8081" help:"Address of the schema registry."`
	State    string `default:"data/broker" help:"Directory for its topics and schemas, which are in kafka-broker there."`
	LogLevel string `enum:"debug,info,warn,error" default:"warn" help:"What to log: debug, info, warn or error."`
}

// Run serves the embedded broker until it is told to stop.
func (c *brokerCommand) Run(p *program) (err error) {
	broker := p.broker()
	if broker == nil {
		return &codeError{ExitUsage, fmt.Errorf("no stage of this program brings an embedded broker")}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := state.Open(ctx, c.State)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := dir.Close(); err == nil {
			err = cerr
		}
	}()
	screen := newScreen(p.err)
	settings := stage.Settings{
		Name: "broker", Log: newLogger(screen, c.LogLevel), Clock: stage.SystemClock,
		StateDir: dir.Path, State: dir.DB,
	}
	return broker.ServeBroker(ctx, settings, c.Listen, c.Registry, func(broker, registry string) {
		fmt.Fprintf(p.out, "embedded broker, not for production; ctrl-C stops it\n"+
			"  export KAFKA_BROKERS=%s\n  export SCHEMA_REGISTRY_URL=%s\n", broker, registry)
	})
}

func (p *program) broker() stage.Broker {
	for _, s := range p.catalogue {
		if b, ok := s.New().(stage.Broker); ok {
			return b
		}
	}
	return nil
}

type stateCommand struct {
	Ls stateListCommand `cmd:"" help:"List what a state directory holds; also beside a running engine."`
}

type stateListCommand struct {
	Where string `arg:"" help:"A pipeline file, or a state directory."`
	stateFlags
}

// Run lists a state directory.
func (c *stateListCommand) Run(p *program) error {
	dir, err := c.stateDir(p, c.Where)
	if err != nil {
		return err
	}
	entries, err := state.List(context.Background(), dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.out, filepath.Clean(dir))
	rows := make([][]string, 0, len(entries))
	for _, e := range entries {
		size := thousands(e.Size) + " bytes"
		if e.Table {
			size = thousands(e.Rows) + " rows"
		}
		rows = append(rows, []string{"  " + e.Name, size})
	}
	for _, line := range table(rows) {
		fmt.Fprintln(p.out, line)
	}
	return nil
}

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}
