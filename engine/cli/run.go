package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/control"
)

type runCommand struct {
	pipelineFlags
	For            time.Duration `placeholder:"30s" help:"Stop after this time, and drain."`
	Verify         bool          `help:"Fail when the books do not balance, or events were lost at the source."`
	Report         string        `placeholder:"FILE" help:"Write the books and latencies as JSON; - is standard output."`
	RequireHealthy bool          `help:"Do not start while a dependency is away."`
	LogLevel       string        `enum:"debug,info,warn,error" default:"info" help:"What to log: debug, info, warn or error."`
}

// Run runs a pipeline.
func (c *runCommand) Run(p *program) (err error) {
	pipeline, err := c.load(p)
	if err != nil {
		return err
	}
	report, err := openReport(c.Report, p.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, report.close()) }()
	screen := newScreen(p.err)
	log := newLogger(screen, c.LogLevel)
	listener, err := listen(pipeline.Listen)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	e, err := engine.New(ctx, pipeline, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if c.RequireHealthy {
		if err := healthy(ctx, e); err != nil {
			return errors.Join(err, e.Close(), listener.Close())
		}
	}
	server := control.Serve(listener, control.Handler(e, version()), log)
	log.Info("running", "pipeline", pipeline.Name, "routes", len(pipeline.Routes), "listen", "http://"+listener.Addr().String())
	release := c.stopOn(e, stop, log)
	// Events that a stage prints would be torn by lines that come and go.
	shared := writesStdout(pipeline)
	live := watch(e, screen, screen.terminal() && !(shared && terminalWidth(p.out) > 0), log)
	series := c.record(e)
	err = e.Run(ctx)
	live.end()
	release()
	if serr := server.Close(); serr != nil {
		log.Warn("closing the HTTP server", "error", serr)
	}
	return errors.Join(err, c.account(p, e, report, series, shared || c.Report == stdout))
}

// writesStdout says whether a stage of the pipeline writes events to the
// standard output, which are then for the next program of a pipe.
func writesStdout(p *config.Pipeline) bool {
	for i := range p.Routes {
		for _, l := range linksOf(&p.Routes[i]) {
			if l.Writes && l.What == "stdout" {
				return true
			}
		}
	}
	return false
}

// record records what the report has beside the books.
func (c *runCommand) record(e *engine.Engine) *recorder {
	if c.Report == "" {
		return nil
	}
	return record(e)
}

// stopOn stops the run after --for, and on signals: the first drains, the
// second gives up draining, and a third ends the process as it ends any other.
func (c *runCommand) stopOn(e *engine.Engine, stop func(), log *slog.Logger) (release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var enough <-chan time.Time
	if c.For > 0 {
		enough = time.After(c.For)
	}
	done := make(chan struct{})
	go func() {
		stopping, hurried := false, false
		for {
			select {
			case s := <-signals:
				if hurried {
					die(signals, s.(syscall.Signal))
				}
				if stopping {
					hurried = true
					log.Warn("stopping at once: what is in flight is given back", "signal", s.String())
					e.Abort()
					continue
				}
				log.Info("stopping: what was read is still delivered; once more stops at once",
					"signal", s.String(), "at_most", e.Pipeline().DrainTimeout.String())
			case <-enough:
				if !stopping {
					log.Info("stopping: the time is up; what was read is still delivered",
						"after", c.For.String(), "at_most", e.Pipeline().DrainTimeout.String())
				}
			case <-done:
				return
			}
			stopping = true
			stop()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// die ends the process as a signal does, also one that was started with that
// signal ignored, as shells start what runs in their background.
func die(signals chan<- os.Signal, s syscall.Signal) {
	signal.Stop(signals)
	_ = syscall.Kill(os.Getpid(), s)
	time.Sleep(100 * time.Millisecond)
	os.Exit(128 + int(s))
}

// account prints the books and writes the report. The books leave the standard
// output alone when data goes there.
func (c *runCommand) account(p *program, e *engine.Engine, file *reportFile, series *recorder, data bool) error {
	r := e.Report()
	series.finish(&r)
	out := p.out
	if data {
		out = p.err
	}
	printBooks(out, e.Status(), r)
	errs := []error{file.write(r)}
	if c.Verify {
		errs = append(errs, verify(e.Status()))
	}
	return errors.Join(errs...)
}

// verify checks what a run has to show at its end. That the books balance the
// run itself has checked.
func verify(routes []engine.RouteStatus) error {
	var errs []error
	for _, s := range routes {
		if s.Page.Lost > 0 {
			errs = append(errs, fmt.Errorf("verify: route %s: %d events were gone at the source before they could be read", s.Name, s.Page.Lost))
		}
		if s.Page.InFlight > 0 {
			errs = append(errs, fmt.Errorf("verify: route %s: %d events are still in flight", s.Name, s.Page.InFlight))
		}
	}
	return errors.Join(errs...)
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen: %s is in use, perhaps by another engine; give this one another `listen:` (--set listen=127.0.0.1:0 takes any free port)", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}
