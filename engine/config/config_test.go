package config_test

import (
	"testing"

	"millrace/engine/config"
)

const day2 = `pipeline: day2
resources:
  kafka: {brokers: "${KAFKA_BROKERS:-embedded}"}
  database: {kind: sql, dsn: "${DATABASE_URL:-sqlite:audit.db}"}
routes:
  generate:
    source:
      generator: {rate: 1k/s, content: {template: service_logs}}
    batch: {size: 500, linger: 5ms, in_flight: 4}
    middleware:
      - limiter: {rate: 100k/s, window: 1s}
      - breaker
    sink:
      kafka: {topic: log-events, value: {avro: ../schemas/log_event.avsc}}
`

func TestSmoke(t *testing.T) {
	p, err := config.Parse(catalogue, "pipelines/day2.yaml", []byte(day2), config.Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", p)
	for s := range p.Routes[0].Steps() {
		t.Logf("%s %+v", s.Path, s.Config)
	}
	_, err = config.Parse(catalogue, "pipelines/day2.yaml", []byte(day2), config.Options{Env: env, Set: []string{
		"routes.generate.middleware.limiter.rate=-5/s", "routes.generat.batch.size=3", "routes.generate.batch.size=abc"}})
	t.Log(err)
}
