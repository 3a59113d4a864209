package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"millrace/engine/cli/remote"
	"millrace/engine/cli/visible"
	"millrace/engine/load"
	"millrace/engine/stage"
)

type loadContentCommand struct {
	remoteFlags
	First  string         `arg:"" name:"route" help:"The route; may be left out where only one has a load."`
	Second string         `arg:"" name:"content" optional:"" help:"A content, as the generator's content: is: a template such as access_logs, a file, or YAML."`
	Patch  bool           `help:"Lay it over the content that is there, rather than replace that."`
	TTL    stage.Duration `placeholder:"30s" help:"Go back to the content before after this time."`
}

// Run changes what events say.
func (c *loadContentCommand) Run(p *program) error {
	name, content := split(c.First, c.Second)
	body, file, err := contentOf(content)
	if err != nil {
		return &codeError{ExitUsage, err}
	}
	route, err := c.route(name)
	if err != nil {
		return err
	}
	query := url.Values{}
	if file != "" {
		query.Set("file", file)
	}
	if c.TTL != 0 {
		query.Set("ttl", c.TTL.String())
	}
	method := http.MethodPut
	if c.Patch {
		method = http.MethodPatch
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var r load.Report
	if err := c.client().Call(ctx, method, load.ContentPath(route)+"?"+query.Encode(), body, &r); err != nil {
		return coded(named(err, file, content))
	}
	fmt.Fprintf(p.out, "%s, content %s\n", remote.Brief(&r), saying(&r))
	return nil
}

// named calls a file in problems as the user did.
func named(err error, whole, given string) error {
	var refused *remote.RefusedError
	if errors.As(err, &refused) {
		for i := range refused.Problems {
			if refused.Problems[i].File == whole && whole != "" {
				refused.Problems[i].File = strings.TrimSpace(given)
			}
		}
	}
	return err
}

// contentOf is a content as it is sent, and the whole path of the file that it
// comes from, if it does. An engine on this machine finds what that names.
func contentOf(content string) (body []byte, file string, err error) {
	text := strings.TrimSpace(content)
	switch {
	case strings.ContainsAny(text, "{:\n"):
		return []byte(text), "", nil
	case !isFile(text):
		body, err := json.Marshal(map[string]string{"template": text})
		return body, "", err
	}
	if body, err = os.ReadFile(text); err != nil {
		return nil, "", fmt.Errorf("the content: %w", err)
	}
	file, err = filepath.Abs(text)
	return body, file, err
}

// withContent puts a profile and a content into one change, which counts at once
// for both.
func withContent(profile []byte, content string) ([]byte, error) {
	body, file, err := contentOf(content)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(body, &tree); err != nil {
		return nil, fmt.Errorf("the content %s is not readable YAML: %w", content, err)
	}
	if schema, ok := tree["avro"].(string); ok && schema != "" && !filepath.IsAbs(schema) && file != "" {
		tree["avro"] = filepath.Join(filepath.Dir(file), schema)
	}
	var sent any
	if err := yaml.Unmarshal(profile, &sent); err != nil {
		return nil, fmt.Errorf("the profile is not readable YAML: %w", err)
	}
	return json.Marshal(map[string]any{"load": sent, "content": tree})
}

// saying is what a content is called: its template, its format and its hash.
func saying(r *load.Report) string {
	var c struct{ Template, Format string }
	_ = json.Unmarshal(r.Content, &c) // one of another source has neither
	var words []string
	for _, word := range []string{c.Template, c.Format, r.ContentHash} {
		if word != "" {
			words = append(words, word)
		}
	}
	return visible.Line(strings.Join(words, ", "))
}
