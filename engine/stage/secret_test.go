package stage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"

	"millrace/engine/stage"
)

type login struct {
	User     string
	Password stage.Secret
	Old      []stage.Secret
	By       map[string]stage.Secret
}

func TestASecretIsNeverShown(t *testing.T) {
	const hidden = "hunter2"
	s := stage.Secret(hidden)
	all := login{"ann", s, []stage.Secret{s}, map[string]stage.Secret{"k": s}}
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		shown["secret "+verb] = fmt.Sprintf(verb, s)
		shown["pointer "+verb] = fmt.Sprintf(verb, &s)
		shown["struct "+verb] = fmt.Sprintf(verb, all)
		shown["pointer to struct "+verb] = fmt.Sprintf(verb, &all)
	}
	shown["error"] = fmt.Errorf("login with %v: %w", s, errors.New("denied")).Error()
	shown["json"] = encode(t, json.Marshal, all)
	shown["yaml"] = encode(t, yaml.Marshal, all)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("login", "password", s, "all", all)
		shown[name] = b.String()
	}
	for name, text := range shown {
		if strings.Contains(text, hidden) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
		if !strings.Contains(text, "[redacted]") {
			t.Errorf("%s does not say that something is hidden: %s", name, text)
		}
	}
	if s.Reveal() != hidden {
		t.Error("the client that needs the secret does not get it")
	}
}

func TestAnEmptySecretShowsThatItIsEmpty(t *testing.T) {
	if got := fmt.Sprint(stage.Secret("")); got != "" {
		t.Errorf("an unset secret prints %q", got)
	}
}

func encode(t *testing.T, marshal func(any) ([]byte, error), v any) string {
	t.Helper()
	b, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
