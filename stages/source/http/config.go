package http

import (
	"millrace/engine/stage"
)

// Config is what a pipeline file says about an HTTP source.
type Config struct {
	// Listen is an address of its own, host:port, such as 127.0.0.1:8081. Without it, the paths are served on the pipeline's listen, which asks for the pipeline's token if one is set. Sources of a pipeline may share an address if their paths differ.
	Listen string `yaml:"listen"`
	// Paths are where events are posted. Below each, /batch takes arrays and NDJSON only, GET /health says whether events are taken, and GET of the path itself says what there is. Default [/api/logs].
	Paths []string `yaml:"paths"`
	// Methods are those by which events are sent: POST, PUT. Default [POST].
	Methods []string `yaml:"methods"`
	// Format is what bodies hold: auto, json (an event or an array of them), ndjson (one event per line) or lines (each line is the message of an event). Default auto: by Content-Type, where application/x-ndjson, application/jsonl and the like are ndjson, text/plain is lines, and everything else json.
	Format string `yaml:"format"`
	// Respond is in whose words answers are given: day1 (200 {status, id, message}), day32 (202 {eventId, status, timestamp}), or the text of a body of your own with {{id}}, {{accepted}}, {{failed}}, {{errors}} and {{timestamp}} in it. Default day32.
	Respond string `yaml:"respond"`
	// Status is the status code of a good answer, from 200 to 299. Default 0: 200 for day1, else 202.
	Status int `yaml:"status"`
	// Required are the fields that a JSON event must have and that must not be blank. Without it, organisation, level, message and source for day1, level, message and source for day32, and none for a body of your own.
	Required []string `yaml:"required"`

	// Ack is when a request is answered: delivered (its own events are settled by the whole route), spooled (they are stored in the route's spool, which must be `when: always`) or received (they were understood; what goes wrong later is counted, and not told). Default delivered.
	Ack string `yaml:"ack"`
	// AckTimeout is how long a request waits for that, at most; then it is answered 503, its events go on, and sending them again under the same ids is safe. Default 10s.
	AckTimeout stage.Duration `yaml:"ack_timeout"`

	// Fields are set from the request and replace what an event says, such as {organisation: claim.org, client_ip: client_ip}. A name is that of a field of the event (organisation, source, host, correlation_id) or of an attribute; a value is client_ip, user (whose token, password or sub it was), claim.NAME of a JWT, header.NAME, query.NAME or path. `limiter: {key: attributes.client_ip, per: request, on_limit: reject}` then limits the requests of each address; without `per: request`, its events.
	Fields map[string]string `yaml:"fields"`
	// Auth is who may send events. Default: everybody. With several ways, any of them will do.
	Auth Auth `yaml:"auth"`
	// Proxies say which address is the client's when requests come through others.
	Proxies Proxies `yaml:"proxies"`
	// TLS is for an address of its own. Without it, HTTP is spoken in the clear. Files that are replaced are read again.
	TLS TLS `yaml:"tls"`
	// CORS lets pages of other origins send events from a browser, on an address of its own.
	CORS CORS `yaml:"cors"`

	// MaxBody is how large a body may be, also when it is unpacked; a larger one is answered 413. Default 10MiB.
	MaxBody stage.Size `yaml:"max_body"`
	// MaxEvents is how many events a request may hold; one with more is answered 413. Default 10000.
	MaxEvents int `yaml:"max_events"`
	// Buffer is how much memory requests may take together that are read or wait to be settled. Default 64MiB. When it is full, requests are answered 503.
	Buffer stage.Size `yaml:"buffer"`
	// BufferWait is how long a request waits for room in the buffer before that, its body unread. Default 1s.
	BufferWait stage.Duration `yaml:"buffer_wait"`
	// ReadTimeout is how long a client may take to send a request. Default 30s; its header within 10s.
	ReadTimeout stage.Duration `yaml:"read_timeout"`
	// IdleTimeout is how long a connection of an address of its own may be idle. Default 2m.
	IdleTimeout stage.Duration `yaml:"idle_timeout"`
	// MaxHeader is how large the header of a request may be on an address of its own; a larger one is answered 431. Default 16KiB.
	MaxHeader stage.Size `yaml:"max_header"`
	// MaxConnections is how many connections an address of its own has at once; further ones are closed. Default 20000.
	MaxConnections int `yaml:"max_connections"`
}

// Auth is how clients prove who they are.
type Auth struct {
	// Tokens are bearer tokens by the names of those who have them.
	Tokens map[string]stage.Secret `yaml:"tokens"`
	// Users are passwords by user name, for basic authentication.
	Users map[string]stage.Secret `yaml:"users"`
	// JWT is for signed tokens.
	JWT JWT `yaml:"jwt"`
}

// JWT is which signed tokens are good.
type JWT struct {
	// Algorithms are those that a token may be signed with: HS256, RS256, PS256, ES256, EdDSA and their longer ones, all for the kind of key that is given. Default [].
	Algorithms []string `yaml:"algorithms"`
	// Keys are files of which any may hold the key: PEM with a public key or a certificate for RSA, EC and Ed25519, or for HMAC the secret itself, of 32 bytes or more. Files that are replaced are read again.
	Keys []stage.Path `yaml:"keys"`
	// Issuer is what `iss` must be. Default "": not looked at.
	Issuer string `yaml:"issuer"`
	// Audience is what `aud` must be or hold. Default "": not looked at.
	Audience string `yaml:"audience"`
	// Leeway is how far the clocks of issuer and engine may differ when `exp`, which must be there, and `nbf` are looked at. Default 0s.
	Leeway stage.Duration `yaml:"leeway"`
}

// Proxies are whose word about a client's address is taken.
type Proxies struct {
	// Trusted are addresses and networks, such as 10.0.0.0/8 or ::1. The client is the last address that is none of them. Default []: the client is who connects.
	Trusted []string `yaml:"trusted"`
	// Header is the one that the proxies write: X-Forwarded-For or Forwarded. Default X-Forwarded-For.
	Header string `yaml:"header"`
}

// TLS is the certificate to serve with.
type TLS struct {
	// Cert is a file with the certificate and those that lead to a known one, in PEM.
	Cert stage.Path `yaml:"cert"`
	// Key is a file with its private key, in PEM.
	Key stage.Path `yaml:"key"`
}

// CORS is which pages may send events.
type CORS struct {
	// Origins are those pages' origins, such as https://app.example.org, or * for all. Default []: none.
	Origins []string `yaml:"origins"`
	// MaxAge is how long a browser may remember that. Default 10m.
	MaxAge stage.Duration `yaml:"max_age"`
}

// The words of Ack, Format and Respond.
const (
	ackDelivered = "delivered"
	ackSpooled   = "spooled"
	ackReceived  = "received"

	formatAuto   = "auto"
	formatJSON   = "json"
	formatNDJSON = "ndjson"
	formatLines  = "lines"

	respondDay1  = "day1"
	respondDay32 = "day32"

	headerXForwardedFor = "X-Forwarded-For"
	headerForwarded     = "Forwarded"
)
