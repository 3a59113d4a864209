//go:build real

package kafka

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

func TestAWrongPasswordParksTheRouteAndSaysWhatToCheck(t *testing.T) {
	resource := kafka.Stage.New().(*kafka.Config)
	resource.Brokers = os.Getenv("KAFKA_SASL_BROKERS")
	if resource.Brokers == "" {
		t.Fatal("KAFKA_SASL_BROKERS is not set: this test needs a real Kafka (make services-up, then make test-real)")
	}
	resource.TLS = &kafka.TLS{CA: stage.Path(os.Getenv("KAFKA_CA_FILE"))}
	resource.SASL = &kafka.SASL{Mechanism: "plain", User: os.Getenv("KAFKA_USER"), Password: "guessed"}
	s := stage.Settings{Name: "kafka", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock}
	cluster, err := resource.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	s.Resource = func(string) (any, error) { return cluster, nil }
	c := Stage.New().(*Config)
	c.Topic, c.Group, c.Resource = "any", "any", "kafka"
	r, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if _, err := r.Read(ctx); stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "check sasl.user and sasl.password") {
		t.Errorf("%v: %v", stage.ClassOf(err), err)
	}
}
