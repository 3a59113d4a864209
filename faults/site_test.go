//go:build faults

package faults

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	kafkas                          []*service // source, and all brokers of the target
	targets                         []*service // the latter; the first is target, the last kafkaOut
}

// shared is the site of all tests that need no other.
var shared *site

// theSite is the shared site, with everything up.
func theSite(t testing.TB) *site {
	t.Helper()
	if shared == nil {
		began := time.Now()
		s, err := newSite("site", 1)
		must(t, err)
		shared = s
		report("two Kafkas, PostgreSQL and Redis are up after %.0f s", time.Since(began).Seconds())
	}
	shared.restore(t)
	return shared
}

// newSite starts the services, with a target of so many brokers.
func newSite(name string, brokers int) (*site, error) {
	s := &site{dir: filepath.Join(home, name)}
	err := s.prepare(brokers)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// prepare makes the services and the proxies before them.
func (s *site) prepare(brokers int) error {
	lib, err := jars()
	if err != nil {
		return err
	}
	in, err := servers.NewKafkas(1, "source", s.dir, lib)
	if err != nil {
		return err
	}
	out, err := servers.NewKafkas(brokers, "target", s.dir, lib)
	if err != nil {
		return err
	}
	s.kafkaIn, s.kafkaOut = in[0], out[brokers-1]
	if s.pg, err = servers.NewPostgres(s.dir); err != nil {
		return err
	}
	redis, err := servers.NewRedis(s.dir)
	if err != nil {
		return err
	}
	s.postgres, err = behind(&s.pg.Server, s.pg.Target(), err)
	s.redis, err = behind(&redis.Server, redis.Target(), err)
	for _, k := range append(in, out...) {
		var x *service
		if x, err = behind(&k.Server, k.Target(), err); err == nil {
			k.Advertise(x.Addr())
			s.kafkas = append(s.kafkas, x)
		}
	}
	if err == nil {
		s.source, s.target, s.targets = s.kafkas[0], s.kafkas[1], s.kafkas[1:]
	}
	return err
}

// behind puts a proxy before a service, unless something has failed before.
func behind(server *servers.Server, target string, err error) (*service, error) {
	if err != nil {
		return nil, err
	}
	p, err := proxy.Listen(target)
	if err != nil {
		return nil, err
	}
	return &service{server, p}, nil
}

// start starts all services at the same time.
func (s *site) start() error {
	var all sync.WaitGroup
	failed := make([]error, len(s.all()))
	for i, x := range s.all() {
		all.Go(func() { failed[i] = x.Start() })
	}
	all.Wait()
	return errors.Join(failed...)
}

// close ends the services.
func (s *site) close() {
	for _, x := range s.all() {
		if x != nil {
			_ = x.Kill() // what has ended already is fine
			x.Close()
		}
	}
}

// restore brings everything back.
func (s *site) restore(t testing.TB) {
	t.Helper()
	for _, x := range s.all() {
		x.Resume()
		must(t, x.Set(proxy.Pass))
		must(t, x.Start())
	}
}

func (s *site) all() []*service {
	return append([]*service{s.postgres, s.redis}, s.kafkas...)
}

// brokers are the addresses of the target, behind the proxies.
func (s *site) brokers() string {
	var all []string
	for _, x := range s.targets {
		all = append(all, x.Addr())
	}
	return strings.Join(all, ",")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
