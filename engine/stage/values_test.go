package stage_test

import (
	"encoding"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

func TestRatesAsUsersWriteThem(t *testing.T) {
	for text, want := range map[string]stage.Rate{
		"100/s": 100, "1.5k/s": 1500, "5K/sec": 5000, "6M/min": 1e5, "60/m": 1, "3600/h": 1, "2/ms": 2000, "1G/s": 1e9,
		"100 k / s": 1e5, "0/s": 0, "-5/s": -5, // a sign is for Validate to judge
	} {
		var r stage.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || math.Abs(float64(r-want)) > 1e-9*math.Abs(float64(want)) {
			t.Errorf("%q is %v (%v), want %v", text, float64(r), err, float64(want))
		}
	}
	refuse[stage.Rate](t, "", "100", "/s", "k/s", "100/", "100/day", "100m/s", "ten/s", "NaN/s", "inf/s", "1e400/s", "1/s/s")
}

func TestSizesAsUsersWriteThem(t *testing.T) {
	for text, want := range map[string]stage.Size{
		"512": 512, "512B": 512, "64KiB": 64 << 10, "1MiB": 1 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40,
		"1kB": 1000, "1KB": 1000, "1.5MB": 1500000, "2GB": 2e9, "0": 0, "-1": -1,
	} {
		var s stage.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d (%v), want %d", text, s, err, want)
		}
	}
	refuse[stage.Size](t, "", "MiB", "1mib", "1M", "1 Megabyte", "NaN", "1e30", "9999999TiB")
}

func TestPercentagesAsUsersWriteThem(t *testing.T) {
	for text, want := range map[string]stage.Percent{"50%": 0.5, " 0.1 % ": 0.001, "0%": 0, "100%": 1, "250%": 2.5} {
		var p stage.Percent
		if err := p.UnmarshalText([]byte(text)); err != nil || math.Abs(float64(p-want)) > 1e-12 {
			t.Errorf("%q is %v (%v), want %v", text, float64(p), err, float64(want))
		}
	}
	refuse[stage.Percent](t, "", "0.5", "50", "%", "half%", "NaN%", "Inf%", "50%%")
}

func TestDurationsAsUsersWriteThem(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "1m30s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "0.5d": 12 * time.Hour,
		"0": 0, " 1h ": time.Hour, "-1s": -time.Second,
	} {
		var d stage.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q is %v (%v), want %v", text, d.Std(), err, want)
		}
	}
	refuse[stage.Duration](t, "", "5", "d", "1w", "one day", "NaNd", "infd", "1d12h", "99999999d")
}

func TestValuesPrintAsAFileWouldHaveThem(t *testing.T) {
	for _, c := range []struct {
		value fmt.Stringer
		want  string
	}{
		{stage.Rate(0), "0/s"}, {stage.Rate(999), "999/s"}, {stage.Rate(1500), "1.5k/s"}, {stage.Rate(2e6), "2M/s"}, {stage.Rate(3e9), "3G/s"}, {stage.Rate(0.5), "0.5/s"},
		{stage.Size(0), "0"}, {stage.Size(1000), "1000"}, {stage.Size(64 << 10), "64KiB"}, {stage.Size(3 << 20), "3MiB"}, {stage.Size(2048 << 40), "2048TiB"},
		{stage.Percent(0.5), "50%"}, {stage.Percent(0.001), "0.1%"}, {stage.Percent(0.07), "7%"},
		{stage.Duration(0), "0s"}, {stage.Duration(7 * 24 * time.Hour), "7d"}, {stage.Duration(90 * time.Second), "1m30s"},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("%T prints %q, want %q", c.value, got, c.want)
		}
	}
}

func TestErrorsShowTheValueAndAnExample(t *testing.T) {
	for _, err := range []error{
		new(stage.Rate).UnmarshalText([]byte("fast")), new(stage.Size).UnmarshalText([]byte("fast")),
		new(stage.Percent).UnmarshalText([]byte("fast")), new(stage.Duration).UnmarshalText([]byte("fast")),
	} {
		if err == nil || !strings.Contains(err.Error(), `"fast"`) || !strings.Contains(err.Error(), "such as") {
			t.Errorf("error %v names no value or shows no example", err)
		}
	}
}

// What a user writes with up to six digits is printed as the same number.
func TestPrintedValuesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := strconv.Itoa(rapid.IntRange(0, 999999).Draw(t, "n")) + rapid.SampledFrom([]string{"", "e-3", "e-1"}).Draw(t, "e")
		reread[stage.Rate](t, number+rapid.SampledFrom([]string{"/s", "k/s", "M/s", "G/s"}).Draw(t, "rate"))
		reread[stage.Percent](t, number+"%")
		size := strconv.FormatInt(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "size"), 10)
		reread[stage.Size](t, size)
		reread[stage.Size](t, strconv.Itoa(rapid.IntRange(0, 1<<20).Draw(t, "n"))+rapid.SampledFrom([]string{"KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"}).Draw(t, "unit"))
		reread[stage.Duration](t, time.Duration(rapid.Int64Range(-36500*int64(24*time.Hour), 36500*int64(24*time.Hour)).Draw(t, "duration")).String())
	})
}

// What is written back to a file is the number to the last bit; a percentage
// is divided and multiplied by 100 on its way, and is covered above.
func TestMarshalledValuesReadBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		remarshal(t, stage.Rate(rapid.Float64Range(-1e12, 1e12).Draw(t, "rate")))
		remarshal(t, stage.Size(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "size")))
		remarshal(t, stage.Duration(rapid.Int64().Draw(t, "duration")))
	})
}

func TestMarshalledValuesAreFitForAFile(t *testing.T) {
	for _, c := range []struct {
		value encoding.TextMarshaler
		want  string
	}{
		{stage.Rate(1500), "1.5k/s"}, {stage.Rate(2e6), "2M/s"}, {stage.Rate(1234567), "1234567/s"},
		{stage.Percent(0.07), "7%"}, {stage.Percent(0.5), "50%"},
		{stage.Size(3 << 20), "3MiB"}, {stage.Duration(90 * time.Second), "1m30s"},
	} {
		if text, err := c.value.MarshalText(); err != nil || string(text) != c.want {
			t.Errorf("%T is written as %q (%v), want %q", c.value, text, err, c.want)
		}
	}
}

// text is a value that reads and prints itself.
type text[T any] interface {
	*T
	encoding.TextUnmarshaler
}

// number is what the typed values are underneath.
type number interface {
	fmt.Stringer
	~float64 | ~int64
}

func refuse[T any, P text[T]](t *testing.T, inputs ...string) {
	t.Helper()
	for _, in := range inputs {
		var v T
		if err := P(&v).UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%T accepted %q as %v", v, in, v)
		}
	}
}

// reread reads a text, prints it, and reads that: the same number within what
// a float64 can tell.
func reread[T number, P text[T]](t interface {
	Helper()
	Fatalf(string, ...any)
}, in string) {
	t.Helper()
	var v, again T
	if err := P(&v).UnmarshalText([]byte(in)); err != nil {
		t.Fatalf("%T does not read %q: %v", v, in, err)
	}
	if err := P(&again).UnmarshalText([]byte(v.String())); err != nil {
		t.Fatalf("%T reads %q, prints %q, and does not read that: %v", v, in, v, err)
	}
	if diff := math.Abs(float64(again) - float64(v)); diff > 1e-12*math.Abs(float64(v)) {
		t.Fatalf("%T reads %q as %v, prints it as %q, which is %v", v, in, float64(v), v, float64(again))
	}
}

func remarshal[T interface {
	number
	encoding.TextMarshaler
}, P text[T]](t *rapid.T, v T) {
	var again T
	written, err := v.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := P(&again).UnmarshalText(written); err != nil || again != v {
		t.Fatalf("%T %v is written as %q, which reads as %v (%v)", v, float64(v), written, float64(again), err)
	}
}

func fuzzText[T number, P text[T]](f *testing.F, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var v T
		if err := P(&v).UnmarshalText([]byte(in)); err != nil {
			if v != 0 {
				t.Fatalf("%q is refused (%v), but left %v", in, err, v)
			}
			return
		}
		if math.IsNaN(float64(v)) {
			t.Fatalf("%q is no number", in)
		}
		_ = v.String()
	})
}

func FuzzRate(f *testing.F) {
	fuzzText[stage.Rate](f, "100/s", "1.5k/s", "0x1p3/s", "1e308/ms", "/", "k/s")
}
func FuzzSize(f *testing.F)    { fuzzText[stage.Size](f, "512", "64KiB", "1e18", "-1TB", "0.1") }
func FuzzPercent(f *testing.F) { fuzzText[stage.Percent](f, "50%", "1e308%", "-0%", "%") }
func FuzzDuration(f *testing.F) {
	fuzzText[stage.Duration](f, "7d", "1m30s", "-0d", "36500d", "960000h")
}
