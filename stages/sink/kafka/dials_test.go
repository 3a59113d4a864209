package kafka

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

// A breaker ignores what fails because the route was told to stop. Behind a
// network that swallows everything the client gives connections up in the same
// words, and that is weather.
func TestAConnectionThatTheClientGaveUpIsWeather(t *testing.T) {
	p := openSink(t, clusterAt(t, fake(t).ListenAddrs()[0])).producers[0]
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	var dialer net.Dialer
	_, err := dialer.DialContext(gaveUp, "tcp", "127.0.0.1:1")
	if stage.ClassOf(err) != stage.Stopped {
		t.Fatalf("a connection that was given up: %v (%v)", err, stage.ClassOf(err))
	}
	p.dials.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, fmt.Errorf("unable to dial: %w", err))
	if err := p.late(t.Context(), "no answer"); stage.ClassOf(err) != stage.Retryable {
		t.Errorf("%v is %v, want weather", err, stage.ClassOf(err))
	}
	if err := p.late(gaveUp, "no answer"); stage.ClassOf(err) != stage.Stopped {
		t.Errorf("the route was told to stop, and that is %v: %v", stage.ClassOf(err), err)
	}
}
