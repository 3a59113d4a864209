package load

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTrace bounds a trace: a year of ten-second buckets fits.
const maxTrace = 4_000_000

// Point is one line of a trace.
type Point struct {
	// At is the time since the first line.
	At time.Duration
	// Count is how many events there were from here to the next line.
	Count float64
}

// ReadTrace reads a trace from CSV with a header line. timeColumn and
// valueColumn name the columns. The error names the line, and repeats nothing of
// what stands there: it may be shown to who cannot read the file.
func ReadTrace(r io.Reader, timeColumn, valueColumn string) ([]Point, error) {
	rows := csv.NewReader(r)
	rows.ReuseRecord, rows.FieldsPerRecord = true, -1
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty; it needs a header line and a line per time")
	} else if err != nil {
		return nil, err
	}
	if len(header) > 0 {
		header[0] = strings.TrimPrefix(header[0], "\ufeff")
	}
	header = slices.Clone(header)
	times, values := slices.Index(header, timeColumn), slices.Index(header, valueColumn)
	for i, at := range []int{times, values} {
		if at < 0 {
			return nil, fmt.Errorf("has no column %q in its header; time: and value: name the columns", []string{timeColumn, valueColumn}[i])
		}
	}
	return readPoints(rows, times, values)
}

func readPoints(rows *csv.Reader, times, values int) (points []Point, err error) {
	var first time.Time
	for {
		record, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		line, _ := rows.FieldPos(0)
		if len(record) <= max(times, values) {
			return nil, fmt.Errorf("line %d has %d columns, fewer than the header", line, len(record))
		}
		at, err := parseTime(strings.TrimSpace(record[times]))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		count, err := strconv.ParseFloat(strings.TrimSpace(record[values]), 64)
		if err != nil || !(count >= 0) || count > 1e15 {
			return nil, fmt.Errorf("line %d: the count must be a number from 0 to 1e15", line)
		}
		if len(points) == 0 {
			first = at
		}
		p := Point{at.Sub(first), count}
		switch n := len(points); {
		case n > 0 && p.At <= points[n-1].At:
			return nil, fmt.Errorf("line %d: times must rise, and this one is not after the one before", line)
		case n == maxTrace:
			return nil, fmt.Errorf("has more than %d lines", maxTrace)
		}
		points = append(points, p)
	}
	if len(points) < 2 {
		return nil, fmt.Errorf("needs two lines below its header, since a count lasts until the next line, got %d", len(points))
	}
	return points, nil
}

var timeForms = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

func parseTime(s string) (time.Time, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(n) < 1e11 {
		whole, part := math.Modf(n)
		return time.Unix(int64(whole), int64(math.Round(part*1e9))).UTC(), nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("the time must be RFC 3339, 2006-01-02 15:04:05 or a number of seconds")
}

// traceCurve spreads each count over the time until the next one. The last
// count lasts as long as the one before it.
func traceCurve(points []Point, speed, scale float64) curve {
	parts := make([]curve, len(points))
	long := 0.0
	for i, p := range points {
		if i < len(points)-1 {
			long = float64(points[i+1].At-p.At) / speed
		}
		parts[i] = flat(p.Count*scale/long*second, long)
	}
	return newChain(parts...)
}
