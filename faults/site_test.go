//go:build faults

package faults

import (
	"path/filepath"
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
}

// newSite starts the services, which end with the test.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: filepath.Join(home, t.Name())}
	lib := jars(t)
	in, err := servers.NewKafkas(1, "source", s.dir, lib)
	must(t, err)
	out, err := servers.NewKafkas(1, "target", s.dir, lib)
	must(t, err)
	s.kafkaIn, s.kafkaOut = in[0], out[0]
	s.pg, err = servers.NewPostgres(s.dir)
	must(t, err)
	redis, err := servers.NewRedis(s.dir)
	must(t, err)

	s.source = behind(t, &s.kafkaIn.Server, s.kafkaIn.Target())
	s.target = behind(t, &s.kafkaOut.Server, s.kafkaOut.Target())
	s.postgres = behind(t, &s.pg.Server, s.pg.Target())
	s.redis = behind(t, &redis.Server, redis.Target())
	s.kafkaIn.Advertise(s.source.Addr())
	s.kafkaOut.Advertise(s.target.Addr())

	startAll(t, s.source.Server, s.target.Server, s.postgres.Server, s.redis.Server)
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

func (s *site) all() []*service { return []*service{s.source, s.target, s.postgres, s.redis} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
