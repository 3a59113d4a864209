//go:build faults

package faults

import (
	"path/filepath"
	"strings"
	"testing"

	"millrace/faults/internal/proxy"
	"millrace/faults/internal/servers"
)

// service is one that can be taken away: by what happens to it, and by what
// happens to the network before it.
type service struct {
	*servers.Server
	*proxy.Proxy
}

// site is all that a pipeline depends on.
type site struct {
	dir                             string
	kafkaIn, kafkaOut               *servers.Kafka
	pg                              *servers.Postgres
	source, target, postgres, redis *service
	targets                         []*service // all brokers of the target; the first is target, the last kafkaOut
}

// newSite starts the services, which end with the test.
func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteOf(t, 1)
}

// newSiteOf has a target of so many brokers.
func newSiteOf(t *testing.T, brokers int) *site {
	t.Helper()
	s := &site{dir: filepath.Join(home, t.Name())}
	lib := jars(t)
	in, err := servers.NewKafkas(1, "source", s.dir, lib)
	must(t, err)
	out, err := servers.NewKafkas(brokers, "target", s.dir, lib)
	must(t, err)
	s.kafkaIn, s.kafkaOut = in[0], out[brokers-1]
	s.pg, err = servers.NewPostgres(s.dir)
	must(t, err)
	redis, err := servers.NewRedis(s.dir)
	must(t, err)

	s.source = behind(t, &s.kafkaIn.Server, s.kafkaIn.Target())
	for _, k := range out {
		x := behind(t, &k.Server, k.Target())
		k.Advertise(x.Addr())
		s.targets = append(s.targets, x)
	}
	s.target = s.targets[0]
	s.postgres = behind(t, &s.pg.Server, s.pg.Target())
	s.redis = behind(t, &redis.Server, redis.Target())
	s.kafkaIn.Advertise(s.source.Addr())
	var all []*servers.Server
	for _, x := range s.all() {
		all = append(all, x.Server)
	}
	startAll(t, all...)
	return s
}

// behind puts a proxy before a service.
func behind(t *testing.T, server *servers.Server, target string) *service {
	t.Helper()
	p, err := proxy.Listen(target)
	must(t, err)
	t.Cleanup(p.Close)
	return &service{server, p}
}

// startAll starts services at the same time; they end with the test.
func startAll(t *testing.T, all ...*servers.Server) {
	t.Helper()
	failed := make(chan error)
	for _, s := range all {
		t.Cleanup(func() { _ = s.Kill() })
		go func() { failed <- s.Start() }()
	}
	for range all {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// restore brings everything back.
func (s *site) restore(t *testing.T) {
	t.Helper()
	for _, x := range s.all() {
		x.Resume()
		must(t, x.Set(proxy.Pass))
		must(t, x.Start())
	}
}

func (s *site) all() []*service {
	return append([]*service{s.source, s.postgres, s.redis}, s.targets...)
}

// brokers are the addresses of the target, behind the proxies.
func (s *site) brokers() string {
	var all []string
	for _, x := range s.targets {
		all = append(all, x.Addr())
	}
	return strings.Join(all, ",")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
