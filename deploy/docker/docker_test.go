// Package docker checks what can be checked of compose.yaml and the Dockerfile
// without a container engine: that they fit each other, the pipeline file and
// the module.
package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// root is the repository, which is compose.yaml's folder and the build context.
const root = "../.."

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct{ Test []string }
}

type composeFile struct {
	Services map[string]service
	Volumes  map[string]any
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kafka", "postgres", "redis", "engine"} {
		if _, ok := c.Services[name]; !ok {
			t.Fatalf("compose.yaml has no service %s", name)
		}
	}
	return c
}

func TestEveryServiceIsCheckedAndReachableFromThisMachineOnly(t *testing.T) {
	for name, s := range compose(t).Services {
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s: healthcheck %v", name, s.Healthcheck.Test)
		}
		if s.Image == "" || len(s.Ports) == 0 {
			t.Errorf("%s: image %q, ports %v", name, s.Image, s.Ports)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to others", name, p)
			}
		}
	}
}

func TestVolumesAndFoldersThatAreMountedExist(t *testing.T) {
	c := compose(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; named {
				continue
			}
			if info, err := os.Stat(filepath.Join(root, from)); err != nil || !info.IsDir() {
				t.Errorf("%s: %s is no volume and no folder", name, from)
			}
		}
	}
}

func TestTheEngineWaitsForServicesThatExist(t *testing.T) {
	c := compose(t)
	for name, d := range c.Services["engine"].DependsOn {
		if _, ok := c.Services[name]; !ok || d.Condition != "service_healthy" {
			t.Errorf("depends_on %s: %+v", name, d)
		}
	}
}

// The same pipeline file runs on real services by environment alone, so the
// variables must be those that it reads.
func TestTheEngineGetsTheVariablesOfItsPipeline(t *testing.T) {
	engine := compose(t).Services["engine"]
	file := engine.Command[len(engine.Command)-1]
	var wanted []string
	for _, m := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(read(t, file), -1) {
		wanted = append(wanted, m[1])
	}
	for _, name := range []string{"LISTEN", "ENGINE_TOKEN", "STATE_DIR", "KAFKA_BROKERS", "DATABASE_URL"} {
		if !slices.Contains(wanted, name) {
			t.Errorf("%s does not read %s", file, name)
		}
		if engine.Environment[name] == "" {
			t.Errorf("compose.yaml does not set %s", name)
		}
	}
	if got := engine.Environment["ENGINE_TOKEN"]; !strings.HasPrefix(got, "${ENGINE_TOKEN:?") {
		t.Errorf("ENGINE_TOKEN is %q: a token that everybody knows is none", got)
	}
	_, port, _ := strings.Cut(engine.Environment["LISTEN"], ":")
	if probe := strings.Join(engine.Healthcheck.Test, " "); !strings.Contains(probe, "127.0.0.1:"+port+"/readyz") {
		t.Errorf("the healthcheck asks %q, the engine listens on port %s", probe, port)
	}
}

func TestTheDockerfileFitsTheModule(t *testing.T) {
	engine := compose(t).Services["engine"]
	text := read(t, filepath.Join(engine.Build.Context, engine.Build.Dockerfile))
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	for _, want := range []string{"FROM golang:" + version + "-", "CGO_ENABLED=0", "HEALTHCHECK ", "millrace/engine/cli.release="} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
	last := ""
	for _, m := range regexp.MustCompile(`(?m)^(FROM|USER) +(\S+)`).FindAllStringSubmatch(text, -1) {
		last = m[1] + " " + m[2]
	}
	if !strings.HasPrefix(last, "USER ") || last == "USER 0" || last == "USER root" {
		t.Errorf("the image runs as root: %q comes last", last)
	}
	ignored := strings.Fields(read(t, "deploy/docker/Dockerfile.dockerignore"))
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-\n]+) \S+$`).FindAllStringSubmatch(text, -1) {
		for _, from := range strings.Fields(m[1]) {
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("COPY %s: %v", from, err)
			}
			if !slices.Contains(ignored, "!"+from) {
				t.Errorf("COPY %s: it is left out by Dockerfile.dockerignore", from)
			}
		}
	}
}
