package stagetest

import (
	"io"
	"sync"

	"millrace/engine/stage"
)

var resourceRules = []rule{
	{"opens without the network", "Open of a resource connects to nothing: a pipeline can start before its dependencies", (*rig).checkResourceOffline},
	{"side by side", "many stages use one resource at a time", (*rig).checkProbesSideBySide},
}

func (r *rig) checkResourceOffline() {
	r.prepare()
	if r.o.Break != nil {
		mend := r.o.Break(r, r.bench)
		defer mend()
	}
	if err := r.open(r.Context()); err != nil {
		r.Fatalf("Open failed: %v", err)
	}
	if c, ok := r.bench.Instance.(io.Closer); !ok || c == nil {
		r.Errorf("Open returned %v, nothing to close", r.bench.Instance)
	}
}

func (r *rig) checkProbesSideBySide() {
	r.mustOpen()
	p, ok := r.bench.Instance.(stage.Prober)
	if !ok {
		return
	}
	r.within("Probe side by side", func() {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := p.Probe(r.Context()); err != nil {
					r.Errorf("Probe failed: %v", err)
				}
			})
		}
		wg.Wait()
	})
}
