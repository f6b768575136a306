package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// String is time, processor time and memory.
func (u usage) String() string {
	return fmt.Sprintf("%.2f s / %.2f s / %d MiB", u.wall.Seconds(), u.cpu.Seconds(), u.peak/mib)
}

// median is that of each figure.
func median(all []usage) usage {
	pick := func(figure func(usage) int64) int64 {
		var v []int64
		for _, u := range all {
			v = append(v, figure(u))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return usage{
		time.Duration(pick(func(u usage) int64 { return int64(u.wall) })),
		time.Duration(pick(func(u usage) int64 { return int64(u.cpu) })), pick(func(u usage) int64 { return u.peak }),
	}
}

// ratio is the median over the rounds of the ratios of two tools' times.
func ratio(step, ours, peer string) float64 {
	x, y := measured[step][ours], measured[step][peer]
	var all []float64
	for i := range min(len(x), len(y)) {
		all = append(all, float64(x[i].wall)/float64(y[i].wall))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func verdict(target string, met bool) string {
	if met {
		return target + ": met"
	}
	return target + ": MISSED"
}

// The targets that are ratios.
var targets = []struct {
	step, peer string
	most       float64
}{
	{full, kopia, 0.6}, {full, borg, 0.6}, {full, restic, 0.45},
	{changed, kopia, 0.5},
	{restore, kopia, 0.45}, {restore, restic, 1}, {restore, cp, 3.5},
}

// judge makes the tables of backups.
func judge(b *testing.B) {
	var t strings.Builder
	fmt.Fprintf(&t, "| step | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, s := range steps {
		fmt.Fprintf(&t, "| %s |", s)
		for _, c := range columns {
			if all := measured[s][c]; len(all) > 0 {
				fmt.Fprintf(&t, " %s |", median(all))
			} else {
				t.WriteString(" |")
			}
		}
		t.WriteString("\n")
	}
	t.WriteString("\n| step, ratio to | kopia | borg | restic | cp |\n|---|---|---|---|---|\n")
	for _, s := range steps {
		for _, ours := range []string{product, library} {
			fmt.Fprintf(&t, "| %s, %s |", s, ours)
			for _, peer := range columns[2:] {
				if r := ratio(s, ours, peer); r > 0 {
					fmt.Fprintf(&t, " %.2f |", r)
					b.ReportMetric(r, strings.ReplaceAll(s+"-"+ours+"/"+peer, " ", ""))
				} else {
					t.WriteString(" |")
				}
			}
			t.WriteString("\n")
		}
	}
	t.WriteString("\n| target | job | library |\n|---|---|---|\n")
	for _, g := range targets {
		row := func(ours string) string {
			r := ratio(g.step, ours, g.peer)
			return verdict(fmt.Sprintf("%.2f", r), r > 0 && r <= g.most)
		}
		fmt.Fprintf(&t, "| %s ≤ %.2f × %s | %s | %s |\n", g.step, g.most, g.peer, row(product), row(library))
	}
	peak := func(ours string) string {
		var most int64
		for _, s := range steps {
			for _, u := range measured[s][ours] {
				most = max(most, u.peak)
			}
		}
		return verdict(fmt.Sprintf("%d MiB", most/mib), most < 200*mib)
	}
	fmt.Fprintf(&t, "| memory < 200 MiB in every step | %s | %s |\n", peak(product), peak(library))
	extra = append(extra, t.String())
}
