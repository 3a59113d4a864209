package config

import (
	"slices"
	"strings"
)

// set lays one `--set path=value` over the layers. A path leads through what
// the files have; only within the Config of a stage may it name a key that is
// not written yet, which decode then checks like any other.
func (l *loader) set(setting string) {
	path, value, ok := strings.Cut(setting, "=")
	file := settingName(path)
	l.report.layer(file)
	l.report.layer("--set " + path)
	keys, err := splitPath(path)
	switch {
	case !ok:
		if at := strings.IndexAny(path, ": \t\n"); at >= 0 {
			path = path[:at] + "…" // what follows may be the value
		}
		l.report.add(Pos{File: "--set " + path}, "", "must be path=value, such as routes.generate.middleware.limiter.rate=5k/s")
		return
	case err != "":
		l.report.add(Pos{File: "--set " + path}, "", "%s", err)
		return
	}
	if why := unreachable(l.layers.tree(), keys); why != "" {
		l.report.add(Pos{File: "--set " + path}, "", "%s", why)
		return
	}
	n := parseValue(l.report, file, path, value)
	if n == nil {
		return
	}
	l.report.setting(file, setting, n)
	for _, key := range slices.Backward(keys) {
		n = &node{kind: dict, pos: Pos{File: file}, entries: []entry{{key: key, pos: Pos{File: file}, value: n}}}
	}
	shapePipeline(l.report, n)
	l.layers.add(n)
}

// settingName is what problems call a setting. It leaves out the value, which
// may be a secret: until its key is found in a Config nobody can tell.
func settingName(path string) string { return "--set " + path + "=…" }

// splitPath cuts a path at its dots, except within double quotes:
// resources.kafka.options."retention.ms".
func splitPath(path string) (keys []string, problem string) {
	var key strings.Builder
	quoted := false
	for _, r := range path {
		switch {
		case r < ' ':
			return nil, "the path must not hold control characters"
		case r == '"':
			quoted = !quoted
		case r == '.' && !quoted:
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteRune(r)
		}
	}
	keys = append(keys, key.String())
	if quoted || slices.Contains(keys, "") {
		return nil, "the path before \"=\" must be keys with dots between them, such as routes.generate.batch.size"
	}
	return keys, ""
}

// level is what the keys of one level of a pipeline file are.
type level struct {
	keys  []string // the only ones there can be; nil: what the files have
	noun  string   // what the files have there
	below func(key string) *level
}

// The levels of a pipeline file down to the stages' Configs, where the paths
// are free (nil).
var (
	topLevel = &level{keys: keysOf[pipelineConfig](), below: func(key string) *level {
		return map[string]*level{"routes": routesLevel, "resources": resourcesLevel}[key]
	}}
	resourcesLevel = &level{noun: "resource", below: none}
	routesLevel    = &level{noun: "route", below: func(string) *level {
		return &level{keys: keysOf[routeConfig](), below: endLevel}
	}}
)

func none(string) *level { return nil }

func endLevel(key string) *level {
	switch key {
	case "source", "middleware":
		return &level{noun: key, below: none}
	case "sink":
		return &level{noun: "sink", below: branchesLevel}
	default:
		return nil
	}
}

func branchesLevel(key string) *level {
	if key != "broadcast" && key != "switch" {
		return nil
	}
	return &level{noun: "branch", below: func(string) *level {
		return &level{keys: keysOf[caseConfig](), below: endLevel}
	}}
}

// unreachable says why a path cannot be set; "" when it can.
func unreachable(n *node, keys []string) string {
	at := topLevel
	for i, key := range keys {
		here := strings.Join(keys[:i], ".")
		switch {
		case n != nil && n.kind == list:
			return here + " is a list; set it whole, as " + here + "=[a, b]"
		case at == nil:
		case at.keys != nil && !slices.Contains(at.keys, key):
			return "there is no key " + quote(key) + DidYouMean(key, "known keys", at.keys)
		case at.keys == nil && n.get(key) == nil:
			return "there is no " + at.noun + " " + quote(key) + " in " + here + DidYouMean(key, "there is", keysIn(n))
		}
		n = valueOf(n.get(key))
		if at != nil {
			at = at.below(key)
		}
	}
	return ""
}

func keysIn(n *node) []string {
	if n == nil || n.kind != dict {
		return nil
	}
	return n.keys()
}
