//go:build real

package poison_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"millrace/engine/cli"
)

// service is an address that the environment must name.
func service(t *testing.T, variable string) string {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		t.Fatalf("%s is not set: this test needs the real service", variable)
	}
	return address
}

// story is the walk of an event through a queue in a real service. older makes
// of what is stored what an older program would have stored.
func story(t *testing.T, resources, store string, older func()) {
	t.Setenv("ENGINE_ADDR", "")
	w := newWorld(t, store)
	for _, file := range []string{w.file, w.redrive} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), `resources: {kafka: {brokers: embedded}, database: {kind: sql, dsn: "sqlite:queue.db"}}`, resources, 1)
		changed = strings.Replace(changed, "sink: {sql: {table: mended}}", "sink: {drop: {}}", 1)
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.engine("run", w.file)
	all, _ := w.stored()
	if all < 5 {
		t.Fatalf("%d events stored: the story needs some", all)
	}
	if older != nil {
		older()
	}
	w.exits(cli.ExitFailure, "dlq", "replay", w.file) // nothing was mended
	if n, replays := w.stored(); n != all || replays != 1 {
		t.Errorf("after a replay that failed: %d of %d stored, %d replays", n, all, replays)
	}
	w.engine("dlq", "purge", w.file, "--yes", "--filter", "level == FATAL")
	left, _ := w.stored()
	report := w.engine("run", w.redrive, "--set", "routes.again.source.poison.pipeline=shop", "--report", "-")
	if !strings.Contains(report, fmt.Sprintf(`"delivered": %d`, left)) {
		t.Errorf("%d were left, the re-drive did\n%s", left, report)
	}
	if n, _ := w.stored(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestAQueueInARealTopic(t *testing.T) {
	topic := fmt.Sprintf("dlq-test-%d", time.Now().UnixNano())
	story(t, fmt.Sprintf("resources: {kafka: {brokers: %q}}", service(t, "KAFKA_BROKERS")), "topic: "+topic, nil)
}

func TestAQueueInARealPostgresTable(t *testing.T) {
	dsn := service(t, "DATABASE_URL")
	table := fmt.Sprintf("dlq_test_%d", time.Now().UnixNano())
	execute := func(statement string) {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		for _, suffix := range []string{"", "_format", "_audit"} {
			execute(`DROP TABLE IF EXISTS "` + table + suffix + `"`)
		}
	})
	story(t, fmt.Sprintf("resources: {database: {kind: sql, dsn: %q}}", dsn), "table: "+table, func() {
		execute(`ALTER TABLE "` + table + `" DROP COLUMN given, DROP COLUMN same, ADD UNIQUE (pipeline, route, event_id, origin_offset)`)
		execute(`UPDATE "` + table + `_format" SET version = 2`)
	})
}
