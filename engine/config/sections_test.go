package config_test

import (
	"strings"
	"testing"

	"millrace/engine/config"
	"millrace/engine/config/docs"
)

func TestTheExamplesOfTheReferenceAreGoodFiles(t *testing.T) {
	for _, topic := range config.Topics() {
		main := config.Sections(topic)[0]
		t.Run(topic, func(t *testing.T) {
			p, err := config.Parse(catalogue, "example.yaml", []byte(main.Example), config.Options{Env: env})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range p.Warnings {
				t.Error(w)
			}
		})
	}
}

// places are files in which one key more can stand, one for each section.
var places = map[string]string{
	"A pipeline file":                         "KEY\nroutes: {r: {source: {generator: {}}, sink: drop}}",
	"A resource, beside the keys of its kind": "routes: {}\nresources: {kafka: {KEY}}",
	"A route":                "routes: {r: {KEY}}",
	"The batches of a route": "routes: {r: {batch: {KEY}}}",
	"An entry of middleware, beside its stage": "routes: {r: {middleware: [{breaker: {}, KEY}]}}",
	"A sink that is no stage":                  "routes: {r: {sink: {KEY}}}",
	"A branch":                                 "routes: {r: {sink: {switch: [{sink: drop, KEY}]}}}",
	"A spool":                                  "routes: {r: {spool: {KEY}}}",
}

func TestEveryKeyOfTheReferenceCanBeWrittenAndIsExplained(t *testing.T) {
	for _, topic := range config.Topics() {
		for _, s := range config.Sections(topic) {
			if known(places[s.Title], "no_such_key") {
				t.Errorf("%s: any key is known", s.Title)
			}
			for _, f := range docs.OfSection(s) {
				if f.Comment == "" {
					t.Errorf("%s: %s is not explained", s.Title, f.Key)
				}
				if strings.Contains(f.Key, ".") {
					continue // the batches have a section
				}
				if !known(places[s.Title], f.Key) {
					t.Errorf("%s: %s is an unknown key", s.Title, f.Key)
				}
			}
		}
	}
}

// known says whether a key may stand in a place.
func known(place, key string) bool {
	text := strings.Replace(place, "KEY", key+": {}", 1)
	_, err := config.Parse(catalogue, "x.yaml", []byte(text), config.Options{Env: env})
	return err == nil || !strings.Contains(err.Error(), "unknown key") && !strings.Contains(err.Error(), "got 2 keys") && !strings.Contains(err.Error(), "no sink")
}
