// Package bench measures what DESIGN promises in ratios: volumes through the
// Docker API against Docker's own local driver in the same run, lists in a
// large installation, the quota under contention, the plugin's start, and
// backups against other programs for backups.
// "make bench" runs it and prints a table; see docs/benchmarks.md.
package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mooring.dev/mooring/e2e/harness"
)

var (
	lab  *harness.Lab
	out  = flag.String("table", "", "file to write the table of results to, besides standard output")
	rows []row
	// extra are whole tables that come after the one of rows.
	extra []string
)

// row is one line of the table of results.
type row struct{ work, ours, local, null, ratios, target string }

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if lab, err = harness.New(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the lab could not be cleaned up:", err)
		code = max(code, 1)
	}
	if len(rows)+len(extra) > 0 {
		table := render()
		fmt.Print("\n", table)
		if *out != "" {
			if err := os.WriteFile(*out, []byte(table), 0o644); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				code = max(code, 1)
			}
		}
	}
	os.Exit(code)
}

func render() string {
	var b strings.Builder
	if len(rows) > 0 {
		b.WriteString("| work | Mooring | driver local | empty plugin | ratio to either | target |\n|---|---|---|---|---|---|\n")
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.work, r.ours, r.local, r.null, r.ratios, r.target)
	}
	for _, t := range extra {
		b.WriteString("\n" + t)
	}
	return b.String()
}

// sample is a set of durations.
type sample []time.Duration

func (s sample) at(q float64) time.Duration {
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s sample) String() string {
	return fmt.Sprintf("%s / %s", ms(s.at(0.5)), ms(s.at(0.95)))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// compare adds a row for samples taken in turn: medians, 95th percentiles and
// the ratios of the medians.
func compare(b *testing.B, work string, ours, local, null sample, target string) {
	ratio := func(peer sample) float64 { return float64(ours.at(0.5)) / float64(peer.at(0.5)) }
	b.ReportMetric(float64(ours.at(0.5).Microseconds())/1000, work+"-p50-ms")
	b.ReportMetric(ratio(local), work+"-ratio")
	rows = append(rows, row{work, ours.String(), local.String(), null.String(), fmt.Sprintf("%.1f / %.1f", ratio(local), ratio(null)), target})
}

// alone adds a row without a peer.
func alone(work, result, target string) {
	rows = append(rows, row{work: work, ours: result, target: target})
}
