package control

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// misdirected is told to whoever asks an engine without a token by a name that
// may not be its own.
const misdirected = "this engine has no token, so it answers only to an IP address or localhost, not to the host that this request names: " +
	"ask for it at 127.0.0.1, or set token: in the pipeline file"

// rebound says whether a request may come from a web page of somebody else.
// Without a token nothing but the address keeps others away, and whoever owns
// a name can let it lead to this machine: a browser then takes the engine for
// a part of their page. Numbers and localhost are nobody's. What comes with no
// host at all comes from no browser.
func rebound(r *http.Request) bool {
	if r.Host == "" {
		return false
	}
	host := strings.TrimSuffix((&url.URL{Host: r.Host}).Hostname(), ".")
	if strings.EqualFold(host, "localhost") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil
}

// sameOrigin says whether a page is one of the host that was asked.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
