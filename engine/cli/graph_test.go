package cli

import "testing"

func TestWhatIsOutsideIsNamedAsPeopleDo(t *testing.T) {
	for what, want := range map[string]string{
		"kafka:kafka:log-events": "topic log-events",
		"kafka:eu:log-events":    "topic log-events of eu",
		"sql:database:audit":     "table audit of database",
		"file:/var/log/a:b":      "file:/var/log/a:b",
		"stdout":                 "stdout",
	} {
		if got := thing(what); got != want {
			t.Errorf("%s is called %q, want %q", what, got, want)
		}
	}
}
