package main

import (
	"fmt"
	"slices"
	"strings"
)

// side is one of the opponents.
type side struct {
	name string
	run  func(round int) (outcome, error)
}

// outcome is one measured run.
type outcome struct {
	events   int     // counted where they arrive
	seconds  float64 // from the first arrival to the last
	use      usage
	services services
}

func (o outcome) rate() float64     { return float64(o.events) / o.seconds }
func (o outcome) cpu() float64      { return o.use.cpu.Seconds() / float64(o.events) * 1e6 }
func (o outcome) kafka() float64    { return o.services.kafka / float64(o.events) * 1e6 }
func (o outcome) postgres() float64 { return o.services.postgres / float64(o.events) * 1e6 }
func (o outcome) wall() float64     { return o.use.wall.Seconds() }
func (o outcome) rss() float64      { return o.use.rssMB }
func values(os []outcome, f func(outcome) float64) []float64 {
	vs := make([]float64, len(os))
	for i, o := range os {
		vs[i] = f(o)
	}
	return vs
}

// alternate runs the sides in turns, A B A B …, after a round that does not
// count, and prints what came out. The order within a round changes from one
// round to the next, so that none always has the warmer machine.
func (b *bench) alternate(name string, sides []side) error {
	results := make([][]outcome, len(sides))
	for round := 0; round <= b.rounds; round++ {
		for i := range sides {
			at := i
			if round%2 == 1 {
				at = len(sides) - 1 - i
			}
			o, err := sides[at].run(round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", sides[at].name, round, err)
			}
			counted := "warm-up"
			if round > 0 {
				counted = fmt.Sprint("round ", round)
				results[at] = append(results[at], o)
				b.record(name, map[string]any{"side": sides[at].name, "round": round, "events": o.events, "seconds": o.seconds,
					"events_per_s": o.rate(), "cpu_s": o.use.cpu.Seconds(), "wall_s": o.wall(), "rss_mb": o.rss(),
					"kafka_cpu_s": o.services.kafka, "postgres_cpu_s": o.services.postgres})
			}
			fmt.Printf("%-8s  %-10s %9.0f ev/s  %5.2f CPU-s/M\n", counted, sides[at].name, o.rate(), o.cpu())
		}
	}
	table(sides, results)
	return nil
}

// table prints medians with the least and the most, and the first side's ratios
// to the others, pair by pair.
func table(sides []side, results [][]outcome) {
	fmt.Printf("\n%-10s %-32s %-22s %-14s %-14s %-10s %s\n", "side", "events/s", "CPU-s per M events", "broker", "postgres", "wall s", "RSS MB")
	for i, s := range sides {
		r := results[i]
		fmt.Printf("%-10s %-32s %-22s %-14s %-14s %-10s %s\n", s.name, spread(values(r, outcome.rate), "%.0f"), spread(values(r, outcome.cpu), "%.2f"),
			middle(values(r, outcome.kafka), "%.2f"), middle(values(r, outcome.postgres), "%.2f"), middle(values(r, outcome.wall), "%.1f"), middle(values(r, outcome.rss), "%.0f"))
	}
	for i, s := range sides[1:] {
		rate := ratios(values(results[0], outcome.rate), values(results[i+1], outcome.rate))
		cpu := ratios(values(results[0], outcome.cpu), values(results[i+1], outcome.cpu))
		fmt.Printf("%s / %s: events/s %s, CPU %s\n", sides[0].name, s.name, spread(rate, "%.3f"), spread(cpu, "%.3f"))
	}
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(vs []float64) float64 {
	s := slices.Sorted(slices.Values(vs))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func middle(vs []float64, format string) string { return fmt.Sprintf(format, median(vs)) }

// spread is median (least–most).
func spread(vs []float64, format string) string {
	if len(vs) == 0 {
		return "-"
	}
	return fmt.Sprintf(strings.ReplaceAll("F (F–F)", "F", format), median(vs), slices.Min(vs), slices.Max(vs))
}
