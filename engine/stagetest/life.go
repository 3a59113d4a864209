package stagetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"millrace/engine/stage"
)

// lifeRules are about opening, closing and being asked in between: the same
// for all kinds.
var lifeRules = []rule{
	{"closed unopened", "a Config that is never opened holds nothing", (*rig).checkUnopened},
	{"open and close", "Close gives back all that Open took, and the stage can be opened again", (*rig).checkOpenClose},
	{"closed twice", "a second Close does no harm", (*rig).checkClosedTwice},
	{"open cancelled", "Open returns when its context ends, and an Open that fails leaves nothing to close", (*rig).checkOpenCancelled},
	{"probe", "Probe succeeds while the dependency is there, and returns when its context ends", (*rig).checkProbe},
	{"status", "Status has lower_snake_case keys with numbers, strings or booleans, and can be asked from any goroutine", (*rig).checkStatus},
}

func (r *rig) checkDefaults() {
	one, other := r.stage.New(), r.stage.New()
	// Pointers to a struct without fields may well be the same.
	if one == other && reflect.TypeOf(one).Elem().Size() > 0 {
		r.Errorf("New returned the same pointer twice")
	}
	if !reflect.DeepEqual(one, other) {
		r.Errorf("two calls of New differ: %+v and %+v", one, other)
	}
	if shared := sharedIn(reflect.ValueOf(one).Elem(), reflect.ValueOf(other).Elem()); shared != "" {
		r.Errorf("%s of two Configs is the same map or memory: what one file sets, another sees", shared)
	}
}

// sharedIn names the first exported field whose map or slice memory two Configs share.
func sharedIn(a, b reflect.Value) string {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		x, y := a.Field(i), b.Field(i)
		switch f.Type.Kind() {
		case reflect.Map, reflect.Slice, reflect.Pointer:
			if !x.IsNil() && x.Pointer() == y.Pointer() && !(f.Type.Kind() == reflect.Slice && x.Cap() == 0) {
				return f.Name
			}
		case reflect.Struct:
			if s := sharedIn(x, y); s != "" {
				return f.Name + "." + s
			}
		}
	}
	return ""
}

func (r *rig) checkPure() {
	c := r.configIn(r.example())
	if c == nil {
		r.Fatalf("example.yaml does not use the stage")
	}
	before := fmt.Sprintf("%+v", reflect.ValueOf(c).Elem())
	var problems [2]stage.Problems
	var links [2][]stage.Link
	var explained [2]stage.Explanation
	for i := range 2 {
		r.within("Validate, Explain or Links", func() {
			if v, ok := c.(stage.Validator); ok {
				v.Validate(&problems[i])
			}
			if e, ok := c.(stage.Explainer); ok {
				explained[i] = e.Explain()
			}
			if l, ok := c.(stage.Linker); ok {
				links[i] = l.Links()
			}
		})
	}
	if after := fmt.Sprintf("%+v", reflect.ValueOf(c).Elem()); after != before {
		r.Errorf("the Config was %s and is %s", before, after)
	}
	if !reflect.DeepEqual(problems[0], problems[1]) || !reflect.DeepEqual(links[0], links[1]) || explained[0] != explained[1] {
		r.Errorf("asked twice, they answer differently")
	}
}

func (r *rig) checkUnopened() {
	for range 3 {
		r.stage.New()
		r.example()
	}
}

func (r *rig) checkOpenClose() {
	r.prepare()
	for range 2 {
		if err := r.open(r.Context()); err != nil {
			r.Fatalf("Open failed: %v", err)
		}
		r.use()
		if _, err := Registry(r.bench.Settings).Gather(); err != nil {
			r.Errorf("its metrics cannot be read: %v", err)
		}
		r.close()
	}
}

// use lets an opened sink or transform do a little work, so that what it
// begins only then is seen to end, too.
func (r *rig) use() {
	_, b := r.batch(3)
	var err error
	switch i := r.bench.Instance.(type) {
	case stage.Writer:
		err = r.write(r.Context(), i, b)
	case stage.Applier:
		err = r.apply(r.Context(), i, b)
	case stage.Prober:
		r.within("Probe", func() { err = i.Probe(r.Context()) })
	}
	if err != nil {
		r.Errorf("a first small use failed: %v", err)
	}
	b.ReturnAll()
}

func (r *rig) checkClosedTwice() {
	r.mustOpen()
	r.close()
	if p, _ := r.callClose("the second Close"); p != nil {
		r.Errorf("the second Close panicked: %v", p)
	}
}

func (r *rig) checkOpenCancelled() {
	r.prepare()
	err := r.open(cancelled())
	if err == nil {
		r.close() // it needed no waiting, and works
		return
	}
	if c := stage.ClassOf(err); c == stage.Unfixable || c == stage.BadEvent {
		r.Errorf("Open in a cancelled context says %s: %v", c, err)
	}
}

func (r *rig) checkProbe() {
	r.mustOpen()
	p, ok := r.bench.Instance.(stage.Prober)
	if !ok {
		return
	}
	var err error
	r.within("Probe", func() { err = p.Probe(r.Context()) })
	if err != nil {
		r.Errorf("the dependency is there, and Probe says %v", err)
	}
	r.within("Probe in a cancelled context", func() { _ = p.Probe(cancelled()) })
	if r.o.Break == nil {
		return
	}
	mend := r.o.Break(r, r.bench)
	defer mend()
	ctx, cancel := context.WithTimeout(r.Context(), shortly)
	defer cancel()
	r.within("Probe with the dependency away", func() { err = p.Probe(ctx) })
	if err == nil {
		r.Errorf("the dependency is away, and Probe says nothing")
	}
}

func (r *rig) checkStatus() {
	r.mustOpen()
	s, ok := r.bench.Instance.(stage.Statuser)
	if !ok {
		return
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				s.Status()
			}
		})
	}
	wg.Wait()
	for key, value := range s.Status() {
		if !snakeCase.MatchString(key) {
			r.Errorf("key %q", key)
		}
		switch reflect.ValueOf(value).Kind() {
		case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		default:
			r.Errorf("%s is a %T", key, value)
		}
	}
}
