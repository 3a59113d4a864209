package generator

import (
	"net/http"

	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// usualContent is the content when nobody says anything.
func usualContent() Content { return Content{Template: "service_logs"} }

// saying is the content that counts now.
func (d *desk) saying() Content { return d.reader.view().state.Content.(*program).content }

// compile makes a content that was sent ready. The error has all problems, with
// their places in the sheet.
func (d *desk) compile(c Content, sheet *read.Sheet) (load.Content, error) {
	var found stage.Problems
	prog := compile(c, d.seed, d.running, &found)
	if err := sheet.Wrong(found); err != nil {
		return nil, err
	}
	return prog, nil
}

// serveContent answers what load.ContentPath promises.
func (d *desk) serveContent(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		answer(w, http.StatusOK, d.reader.view().state.Content)
	case http.MethodPut, http.MethodPatch:
		d.restate(w, r)
	default:
		const allow = "GET, HEAD, PUT, PATCH"
		w.Header().Set("Allow", allow)
		answer(w, http.StatusMethodNotAllowed, refusal{Error: "the method must be " + allow + ", got " + r.Method})
	}
}

// restate takes another content, or what to lay over the one that is there.
func (d *desk) restate(w http.ResponseWriter, r *http.Request) {
	body, ok := d.body(w, r)
	if !ok {
		return
	}
	ttl, ok := ttlOf(w, r)
	if !ok {
		return
	}
	d.editing.Lock()
	defer d.editing.Unlock()
	content := usualContent()
	if r.Method == http.MethodPatch {
		content = d.saying()
	}
	c := load.Change{TTL: ttl}
	sheet, err := read.Content(r.URL.Query().Get("file"), body, &content, d.files)
	if err == nil {
		c.Content, err = d.compile(content, sheet)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	d.do(w, r, c)
}
