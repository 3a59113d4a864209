package http

import (
	"net/http"
	"net/netip"
	"strings"
)

// network reads "10.0.0.0/8" or a single address.
func network(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// proxies find out whose request it is that came through others.
type proxies struct {
	trusted   []netip.Prefix
	forwarded bool // by the Forwarded header
}

func newProxies(c Proxies) proxies {
	p := proxies{forwarded: c.Header == headerForwarded}
	for _, text := range c.Trusted {
		if n, err := network(text); err == nil { // validated
			p.trusted = append(p.trusted, n)
		}
	}
	return p
}

// client is the address that a request comes from: who connected, or if that
// is a trusted proxy, the last address before it that is none. Whatever stands
// further to the front the client may have written itself.
func (p *proxies) client(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at := peer.Addr().Unmap().WithZone("")
	if len(p.trusted) == 0 || !p.trusts(at) {
		return at.String()
	}
	name := headerXForwardedFor
	if p.forwarded {
		name = headerForwarded
	}
	hops := strings.Split(strings.Join(r.Header[name], ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusts(at); i-- {
		before, ok := p.hop(hops[i])
		if !ok {
			break // a proxy that does not say: it stands for whoever is behind it
		}
		at = before
	}
	return at.String()
}

func (p *proxies) trusts(a netip.Addr) bool {
	for _, n := range p.trusted {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// hop reads one address as proxies write it: with or without a port, IPv6 with
// or without brackets.
func (p *proxies) hop(text string) (netip.Addr, bool) {
	if p.forwarded {
		text = forParameter(text)
	}
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
}

// forParameter is the for= of one element of a Forwarded header.
func forParameter(element string) string {
	for part := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(name), "for") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}
