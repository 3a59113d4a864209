//go:build real

package kafka

import (
	"os"
	"strings"
	"testing"
)

// guard is the real Kafka of deploy/local, at its ports that want a login or a
// certificate.
func guard(t *testing.T) guarded {
	t.Helper()
	need := func(name string) string {
		v := os.Getenv(name)
		if v == "" {
			t.Fatalf("%s is not set: this test needs a real Kafka (make services-up, then make test-real)", name)
		}
		return v
	}
	return guarded{
		login: need("KAFKA_SASL_BROKERS"), user: need("KAFKA_USER"), password: need("KAFKA_PASSWORD"),
		certificates: need("KAFKA_TLS_BROKERS"), ca: need("KAFKA_CA_FILE"),
		cert: need("KAFKA_CLIENT_CERT"), key: need("KAFKA_CLIENT_KEY"),
	}
}

// The broker in this process hangs up instead of answering no.
func TestAWrongPasswordIsFatalAndSaysWhatToCheck(t *testing.T) {
	g := guard(t)
	const words = "check sasl.user and sasl.password"
	g.refused(t, []refusal{
		{"scram", func(c *Config) { c.SASL.Password = "guessed" }, words},
		{"plain", func(c *Config) { c.SASL.Mechanism, c.SASL.Password = "plain", "guessed" }, words},
		{"unknown user", func(c *Config) { c.SASL.User = "nobody" }, words},
	})
	if err := g.try(t, func(c *Config) { c.SASL = nil }); err == nil || !strings.Contains(err.Error(), "is SASL missing?") {
		t.Errorf("without a login: %v", err)
	}
}
