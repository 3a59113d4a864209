package engine

import (
	"context"
	"io"
	"sync"

	"millrace/engine/chain"
	"millrace/engine/event"
)

// feed is the source of a route that other routes write to: what they put in
// is read at the other end, nothing lies in between.
type feed struct {
	parcels chan event.Parcel
	ended   chan struct{}
	once    sync.Once
	why     error // what put returns when it has ended
}

func newFeed() *feed {
	return &feed{parcels: make(chan event.Parcel), ended: make(chan struct{})}
}

// put hands a parcel over, waiting until it is taken.
func (f *feed) put(ctx context.Context, p event.Parcel) error {
	select {
	case f.parcels <- p:
		return nil
	case <-f.ended:
		return f.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read takes what was put in.
func (f *feed) Read(ctx context.Context) (event.Parcel, error) {
	select {
	case p := <-f.parcels:
		return p, nil
	case <-f.ended:
		return event.Parcel{}, io.EOF
	case <-ctx.Done(): // perhaps for a while only; the route ends the feed when it ends
		return event.Parcel{}, ctx.Err()
	}
}

// end makes put return why from now on. The first reason stays.
func (f *feed) end(why error) {
	f.once.Do(func() {
		f.why = why
		close(f.ended)
	})
}

// Finish ends the feed: all that write to it have stopped.
func (f *feed) Finish(context.Context) error {
	f.end(chain.ErrEnded)
	return nil
}

// Close ends the feed.
func (f *feed) Close(context.Context) error {
	f.end(chain.ErrEnded)
	return nil
}
