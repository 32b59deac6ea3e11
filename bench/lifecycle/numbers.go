package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// sample is what was measured of one thing, in any order.
type sample []float64

// at returns the value that a share of the sample does not exceed.
func (s sample) at(share float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(share*float64(len(sorted)-1)+0.5)]
}

func (s sample) median() float64 { return s.at(0.5) }

func (s *sample) add(d time.Duration) { *s = append(*s, float64(d.Microseconds())/1000) }

// limit is what a figure may be at most, or at least. The zero value is none.
type limit struct {
	text string
	met  bool
}

// atMost is the limit of a share of a sample.
func (s sample) atMost(share, most float64, unit string) limit {
	return limit{fmt.Sprintf("p%.0f ≤ %g %s", share*100, most, unit), s.at(share) <= most}
}

func (l limit) String() string {
	switch {
	case l == limit{}:
		return ""
	case l.met:
		return l.text
	default:
		return l.text + ": MISSED"
	}
}

// latencies prints rows of a table of milliseconds.
func latenciesHead(what string) {
	fmt.Printf("%-52s %5s %8s %8s %8s %8s %8s   limit\n", what, "n", "min", "p50", "p90", "p99", "max")
}

func latencies(what string, s sample, l limit) {
	fmt.Printf("%-52s %5d %8.2f %8.2f %8.2f %8.2f %8.2f   %v\n", what, len(s), s.at(0), s.at(0.5), s.at(0.9), s.at(0.99), s.at(1), l)
}

// spread is a median with the lowest and highest of the sample in brackets.
func (s sample) spread(format string) string {
	f := strings.ReplaceAll("%f (%f to %f)", "%f", format)
	return fmt.Sprintf(f, s.median(), s.at(0), s.at(1))
}
