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
		wall: time.Duration(pick(func(u usage) int64 { return int64(u.wall) })),
		cpu:  time.Duration(pick(func(u usage) int64 { return int64(u.cpu) })), peak: pick(func(u usage) int64 { return u.peak }),
	}
}

// ratio is the median over the rounds of the ratios of a figure of two tools,
// 0 if there is none.
func ratio(step, ours, peer string, figure func(usage) time.Duration) float64 {
	x, y := measured[step][ours], measured[step][peer]
	var all []float64
	for i := range min(len(x), len(y)) {
		all = append(all, float64(figure(x[i]))/float64(max(figure(y[i]), time.Millisecond)))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func wall(u usage) time.Duration { return u.wall }
func cpu(u usage) time.Duration  { return u.cpu }

func verdict(target string, met bool) string {
	return target + ": " + outcome(met)
}

func outcome(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
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
	extra = append(extra, usages(), stages(), ratios(b), verdicts())
}

// stages tells where the time of a job went: medians, without what took less
// than 5 ms. What is missing to the time of the command is the command itself.
func stages() string {
	var t strings.Builder
	t.WriteString("| job | stages |\n|---|---|\n")
	for _, s := range steps {
		var names []string
		took := map[string]sample{}
		for _, u := range measured[s][product] {
			for _, st := range u.stages {
				if took[st.name] == nil {
					names = append(names, st.name)
				}
				took[st.name] = append(took[st.name], st.took)
			}
		}
		var parts []string
		for _, n := range names {
			if m := took[n].at(0.5); m >= 5*time.Millisecond {
				parts = append(parts, n+" "+ms(m))
			}
		}
		fmt.Fprintf(&t, "| %s | %s |\n", s, strings.Join(parts, ", "))
	}
	return t.String()
}

func usages() string {
	var t strings.Builder
	fmt.Fprintf(&t, "| step: time / processor time / memory | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, s := range steps {
		fmt.Fprintf(&t, "| %s |", s)
		for _, c := range columns {
			text := ""
			if all := measured[s][c]; len(all) > 0 {
				text = median(all).String()
			}
			fmt.Fprintf(&t, " %s |", text)
		}
		t.WriteString("\n")
	}
	return t.String()
}

func ratios(b *testing.B) string {
	var t strings.Builder
	t.WriteString("| ratio of time / of processor time to | kopia | borg | restic | cp |\n|---|---|---|---|---|\n")
	for _, s := range steps {
		for _, ours := range []string{product, library} {
			fmt.Fprintf(&t, "| %s: %s |", s, ours)
			for _, peer := range columns[2:] {
				text := ""
				if r := ratio(s, ours, peer, wall); r > 0 {
					text = fmt.Sprintf("%.2f / %.2f", r, ratio(s, ours, peer, cpu))
					b.ReportMetric(r, strings.ReplaceAll(s+":"+ours+"/"+peer, " ", ""))
				}
				fmt.Fprintf(&t, " %s |", text)
			}
			t.WriteString("\n")
		}
	}
	return t.String()
}

func verdicts() string {
	var t strings.Builder
	t.WriteString("| target | job | library |\n|---|---|---|\n")
	line := func(target string, judged func(ours string) string) {
		fmt.Fprintf(&t, "| %s | %s | %s |\n", target, judged(product), judged(library))
	}
	for _, g := range targets {
		line(fmt.Sprintf("%s ≤ %.2f × %s", g.step, g.most, g.peer), func(ours string) string {
			r := ratio(g.step, ours, g.peer, wall)
			return verdict(fmt.Sprintf("%.2f", r), r > 0 && r <= g.most)
		})
	}
	line("restored bytes take the room of the source's, within 1 %", func(ours string) string {
		return verdict(fmt.Sprintf("%.3f", room[ours]), room[ours] > 0 && room[ours] <= 1.01)
	})
	line("memory < 200 MiB in every step", func(ours string) string {
		var most int64
		for _, s := range steps {
			for _, u := range measured[s][ours] {
				most = max(most, u.peak)
			}
		}
		return verdict(fmt.Sprintf("%d MiB", most/mib), most < 200*mib)
	})
	return t.String()
}
