package generator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// write adds the bytes of an event's content to a hash: everything but its id
// and times.
func write(h hash.Hash, e *event.Event) {
	fmt.Fprintf(h, "%d\x00%v\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00", e.Offset, e.Level, e.Source, e.Host, e.Message, e.CorrelationID, e.TraceID, e.SpanID)
	for _, a := range e.Attributes {
		fmt.Fprintf(h, "%s\x00%d\x00%v\x00", a.Key, a.Value.Kind(), a.Value)
	}
}

// contentHash is the hash of the content of the first n events.
func contentHash(t *testing.T, n int64, change ...func(*Config)) string {
	r := open(t, config(append(change, func(c *Config) { c.Rate, c.Count = Max, n })...))
	h := sha256.New()
	for {
		p, err := r.Read(context.Background())
		if err != nil {
			return hex.EncodeToString(h.Sum(nil))[:16]
		}
		for i := range p.Events {
			write(h, &p.Events[i])
		}
		p.Done(delivered(len(p.Events)))
	}
}

func TestTheSameSeedMakesTheSameBytesOnAnyNumberOfThreads(t *testing.T) {
	// The pinned hash holds across processes, machines and versions. A change
	// of the template changes it: then runs before and after do not compare.
	const want = "5a312694df730d95"
	for _, threads := range []int{1, 2, 8} {
		if got := contentHash(t, 20_000, func(c *Config) { c.Threads = threads }); got != want {
			t.Errorf("%d threads: content hash %s, want %s", threads, got, want)
		}
	}
	withPayload := func(c *Config) { c.Content.Payload = Payload{Size: Sizes{10, 300}} }
	one := contentHash(t, 5000, withPayload)
	if eight := contentHash(t, 5000, withPayload, func(c *Config) { c.Threads = 8 }); one != eight {
		t.Errorf("with a payload: %s on one thread, %s on eight", one, eight)
	}
}

func TestContentDoesNotDependOnTheRate(t *testing.T) {
	hashAt := func(rate Rate) string {
		h := sha256.New()
		r := open(t, config(func(c *Config) { c.Rate, c.Count = rate, 3000 }))
		for _, e := range readAll(t, context.Background(), r) {
			write(h, &e)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	if hashAt(Max) != hashAt(1e9) {
		t.Error("other bytes at another rate")
	}
}

func TestAnotherSeedMakesOtherBytes(t *testing.T) {
	if contentHash(t, 100) == contentHash(t, 100, func(c *Config) { c.Seed = 2 }) {
		t.Error("seeds 1 and 2 make the same content")
	}
}

// made is n events of a content.
func made(t *testing.T, n int64, c Content) []event.Event {
	t.Helper()
	r := open(t, config(func(cfg *Config) { cfg.Rate, cfg.Count, cfg.Content = Max, n, c }))
	return readAll(t, context.Background(), r)
}

func TestServiceLogsLookReal(t *testing.T) {
	const n = 40_000
	levels, sources, messages := map[string]int{}, map[string]int{}, map[string]bool{}
	correlations := map[string]bool{}
	metadata := map[string]*regexp.Regexp{
		"thread_id": regexp.MustCompile(`^worker-([1-9]|[12]\d|3[0-2])$`), "instance_id": regexp.MustCompile(`^host-1$`),
		"request_id": regexp.MustCompile(`^req-[0-9a-f]{16}$`), "user_id": regexp.MustCompile(`^user-[1-9]\d{0,4}$`),
	}
	trace, span := regexp.MustCompile(`^[0-9a-f]{32}$`), regexp.MustCompile(`^[0-9a-f]{16}$`)
	for _, e := range made(t, n, Content{Template: "service_logs"}) {
		levels[e.Level.String()]++
		sources[e.Source]++
		messages[e.Message] = true
		correlations[e.CorrelationID] = true
		if len(e.Attributes) != len(metadata) {
			t.Fatalf("metadata %v", e.Attributes)
		}
		for key, form := range metadata {
			if v, _ := e.Attribute(key); !form.MatchString(v.String()) {
				t.Fatalf("%s is %q", key, v)
			}
		}
		if id, err := uuid.Parse(e.CorrelationID); err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Fatalf("correlation id %q: %v", e.CorrelationID, err)
		}
		if !trace.MatchString(e.TraceID) || !span.MatchString(e.SpanID) {
			t.Fatalf("trace id %q, span id %q", e.TraceID, e.SpanID)
		}
		if !strings.HasPrefix(e.Host, e.Source+"-") || strings.ContainsAny(e.Message, "{}") {
			t.Fatalf("host %q, source %q, message %q", e.Host, e.Source, e.Message)
		}
		for _, word := range strings.FieldsFunc(e.Message, func(r rune) bool { return r == ' ' || r == ',' }) {
			if user, _ := e.Attribute("user_id"); strings.HasPrefix(word, "user-") && word != user.Str() {
				t.Fatalf("message %q is about another user than %q", e.Message, user)
			}
		}
	}
	for level, weight := range defaultLevels {
		checkShare(t, level, levels[level], n, weight/100)
	}
	if len(sources) != 8 || len(messages) < n/3 || len(correlations) > n/4 || len(correlations) < n/5 {
		t.Errorf("%d sources, %d different messages, %d correlation ids of %d events", len(sources), len(messages), len(correlations), n)
	}
}

// checkShare checks a count against its expectation within five standard
// deviations. Content is fixed by the seed, so the result never varies.
func checkShare(t *testing.T, what string, got, n int, share float64) {
	t.Helper()
	want := float64(n) * share
	if off := math.Abs(float64(got) - want); off > 5*math.Sqrt(want*(1-share))+1 {
		t.Errorf("%s: %d of %d, want about %.0f", what, got, n, want)
	}
}

func TestOwnMessagesLevelsSourcesAndFields(t *testing.T) {
	const n = 20_000
	texts, levels, sources, doors := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for i, e := range made(t, n, Content{
		Template: "none",
		Messages: []Message{
			{Text: "door {door} opened by {who}"},
			{Text: "scan {n} took {ms} ms from {ip}, {{raw}}", Weight: 3},
			{Text: "fire", Level: event.LevelError, Source: "alarm"},
		},
		Levels:  map[string]float64{"info": 9, "ERROR": 1},
		Sources: []string{"gate", "hall"},
		Fields: map[string]Field{
			"door": {Weighted: map[string]float64{"north": 3, "south": 1, "never": 0}},
			"who":  {Choice: []string{"ann", "ben"}, Prefix: "@"},
			"n":    {Kind: "sequence"},
			"ms":   {Range: mustRange(t, "-2.50..99.99")},
			"ip":   {Kind: "ip", MessageOnly: true},
			"id":   {Kind: "uuid", Prefix: "x"},
			"hex":  {Hex: 21},
			"room": {Range: mustRange(t, "0..0")},
		},
	}) {
		levels[e.Level.String()]++
		sources[e.Source]++
		got := make(map[string]event.Value)
		var keys []string
		for _, a := range e.Attributes {
			got[a.Key] = a.Value
			keys = append(keys, a.Key)
		}
		if fmt.Sprint(keys) != "[door hex id ms n room who]" {
			t.Fatalf("attributes %v", keys)
		}
		doors[got["door"].Str()]++
		if who := got["who"].Str(); who != "@ann" && who != "@ben" {
			t.Fatalf("who %q", who)
		}
		if got["n"].Int() != int64(i+1) || got["n"].Kind() != event.KindInt || got["room"].Kind() != event.KindInt {
			t.Fatalf("event %d: n %v, room %v", i, got["n"], got["room"])
		}
		if ms := got["ms"]; ms.Kind() != event.KindFloat || ms.Float() < -2.5 || ms.Float() > 99.99 {
			t.Fatalf("ms %v", ms)
		}
		if _, err := uuid.Parse(got["id"].Str()[1:]); err != nil || len(got["hex"].Str()) != 21 {
			t.Fatalf("id %q, hex %q", got["id"], got["hex"])
		}
		texts[checkOwnMessage(t, e.Message, got)]++
	}
	checkShare(t, "INFO", levels["INFO"], n, .9)
	checkShare(t, "fires, a fifth of the errors", texts["fire"], n, .1/5)
	checkShare(t, "doors, a quarter of the infos and a fifth of the errors", texts["door"], n, .9/4+.1/5)
	checkShare(t, "gate", sources["gate"], n, (1-.1/5)/2)
	checkShare(t, "north", doors["north"], n, .75)
	if sources["alarm"] != texts["fire"] || doors["never"] != 0 {
		t.Errorf("sources %v, doors %v", sources, doors)
	}
}

// checkOwnMessage compares a message with the metadata it speaks of and tells
// which it is.
func checkOwnMessage(t *testing.T, message string, got map[string]event.Value) string {
	t.Helper()
	var n int64
	var ms float64
	var ip string
	switch {
	case message == "fire":
		return "fire"
	case message == fmt.Sprintf("door %v opened by %v", got["door"], got["who"]):
		return "door"
	}
	if _, err := fmt.Sscanf(message, "scan %d took %f ms from %s {raw}", &n, &ms, &ip); err != nil {
		t.Fatalf("message %q: %v", message, err)
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(ip, ","))
	if err != nil || !netip.MustParsePrefix("10.0.0.0/8").Contains(address) {
		t.Fatalf("address %q: %v", ip, err)
	}
	if n != got["n"].Int() || ms != got["ms"].Float() {
		t.Fatalf("message %q, metadata n=%v ms=%v", message, got["n"], got["ms"])
	}
	return "scan"
}

func mustRange(t *testing.T, text string) (r Range) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLevelsNobodyGaveOnlyCountWhereThereAreMessages(t *testing.T) {
	for _, e := range made(t, 1000, Content{Template: "none", Messages: []Message{{Text: "x", Level: event.LevelWarn, Source: "s"}}}) {
		if e.Level != event.LevelWarn {
			t.Fatalf("level %v", e.Level)
		}
	}
}

func TestPayloadsHaveTheirSize(t *testing.T) {
	seen := map[int]bool{}
	texts := map[string]bool{}
	for _, e := range made(t, 2000, Content{Template: "service_logs", Payload: Payload{Size: Sizes{64, 67}}}) {
		v, ok := e.Attribute("payload")
		if n := len(v.Str()); !ok || n < 64 || n > 67 {
			t.Fatalf("payload of %d bytes", n)
		}
		seen[len(v.Str())] = true
		texts[v.Str()] = true
	}
	if len(seen) != 4 || len(texts) != 2000 {
		t.Errorf("%d sizes, %d different payloads of 2000", len(seen), len(texts))
	}
	long := made(t, 1, Content{Template: "service_logs", Payload: Payload{Size: Sizes{1 << 20, 1 << 20}}})[0]
	if v, _ := long.Attribute("payload"); len(v.Str()) != 1<<20 || strings.Count(v.Str(), v.Str()[:200]) != 1 {
		t.Error("a long payload repeats itself")
	}
}

func TestWeightsAreMet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Float64Range(0, 100), 1, 20).Draw(t, "weights")
		weights[0] += 1
		a, err := newAlias(weights)
		if err != nil {
			t.Fatal(err)
		}
		sum, got := 0.0, make([]float64, len(weights))
		for _, w := range weights {
			sum += w
		}
		for i, keep := range a.keep { // the exact share that the table gives each index
			share, _ := new(big.Rat).SetFrac(new(big.Int).SetUint64(keep), new(big.Int).Lsh(big.NewInt(1), 64)).Float64()
			got[i] += share / float64(len(weights))
			got[a.other[i]] += (1 - share) / float64(len(weights))
		}
		for i, w := range weights {
			if math.Abs(got[i]-w/sum) > 1e-9 || w == 0 && got[i] > 0 {
				t.Fatalf("weight %v of %v is drawn with a share of %v", w, sum, got[i])
			}
		}
	})
}

func TestHexIsHex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		if got, want := string(appendHex(nil, x, 16)), fmt.Sprintf("%016x", x); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func FuzzCut(f *testing.F) {
	for _, text := range []string{"", "user {user} from {ip}", "{{user}}", "{{{user}}}", "}{", "{user", "{}", "a}b}}c{{d", "{usr}"} {
		f.Add(text)
	}
	fields := map[string]*field{}
	for _, name := range []string{"user", "ip"} {
		fields[name] = newField(name, Field{Choice: []string{"<" + name + ">"}}, "", &stage.Problems{})
	}
	f.Fuzz(func(t *testing.T, message string) {
		pieces, err := cut(message, fields)
		if err != nil {
			if !strings.Contains(message, "{") {
				t.Fatalf("%q has no placeholder, but: %v", message, err)
			}
			return
		}
		var got []byte
		for _, p := range pieces {
			got = append(got, p.text...)
			if p.field != nil {
				got = p.field.append(got, 1, 1)
			}
		}
		if !strings.ContainsAny(message, "{}") && string(got) != message {
			t.Fatalf("%q became %q", message, got)
		}
		// A text whose braces are doubled says what it was.
		again, err := cut(strings.NewReplacer("{", "{{", "}", "}}").Replace(message), nil)
		if err != nil || len(again) != 1 || again[0].text != message {
			t.Fatalf("%q with doubled braces became %+v, %v", message, again, err)
		}
	})
}
