package control_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
)

func TestMetricsAreAlsoToldInTheFormOfTheActuator(t *testing.T) {
	s := serve(t, "")
	var list struct{ Names []string }
	status, body, _ := s.do(http.MethodGet, "/actuator/metrics")
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK || !slices.Contains(list.Names, "millrace_route_events_in_total") {
		t.Fatalf("%d %s (%v)", status, body, err)
	}
	var one struct {
		Name         string
		Measurements []struct {
			Statistic string
			Value     float64
		}
		AvailableTags []struct {
			Tag    string
			Values []string
		}
	}
	status, body, _ = s.do(http.MethodGet, "/actuator/metrics/millrace_route_events_in_total?tag=route:r")
	if err := json.Unmarshal([]byte(body), &one); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s (%v)", status, body, err)
	}
	if len(one.Measurements) != 1 || one.Measurements[0].Statistic != "COUNT" || one.Measurements[0].Value != 2 {
		t.Errorf("two events came in, it says %s", body)
	}
	if !slices.ContainsFunc(one.AvailableTags, func(t struct {
		Tag    string
		Values []string
	}) bool {
		return t.Tag == "route" && slices.Equal(t.Values, []string{"r"})
	}) {
		t.Errorf("no tag route=r in %s", body)
	}
	for _, path := range []string{"/actuator/metrics/none", "/actuator/metrics/millrace_route_events_in_total?tag=route:other"} {
		if status, body, _ := s.do(http.MethodGet, path); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestConsumersAreAskedForTheirHealthWhereTheyAlwaysWere(t *testing.T) {
	s := serve(t, "")
	if status, body, _ := s.do(http.MethodGet, "/consumer/health"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}
