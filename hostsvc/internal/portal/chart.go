package portal

import (
	"math"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// daysChart is a chart of jobs by day and result, and the numbers in it.
type daysChart struct {
	Width, Height int
	Bars          []bar
	Lines         []gridLine
	Labels        []label
	Rows          []dayRow
	Any           bool
}

// bar is a part of a column; Class says its colour.
type bar struct {
	X, Y, Width, Height float64
	Class, Title        string
}

type gridLine struct {
	Y    float64
	Text string
}

// label is a text below the chart, in the middle of X or ending there.
type label struct {
	X            float64
	Anchor, Text string
}

type dayRow struct {
	Day string
	wire.Runs
}

// The measures of the chart.
const (
	chartWidth, chartHeight = 640, 190
	chartLeft, chartBottom  = 34, 22
	chartTop                = 10
)

func chartOf(days []wire.DayOfRuns) daysChart {
	c := daysChart{Width: chartWidth, Height: chartHeight}
	most := 0
	for _, d := range days {
		most = max(most, d.Done+d.Partial+d.Failed+d.Canceled)
	}
	c.Any = most > 0
	top := niceTop(most)
	base := float64(chartHeight - chartBottom)
	scale := (base - chartTop) / float64(top)
	for _, part := range []int{0, top / 2, top} {
		c.Lines = append(c.Lines, gridLine{base - float64(part)*scale, digits(part)})
	}
	step := float64(chartWidth-chartLeft) / float64(max(len(days), 1))
	for i, d := range days {
		x, y := chartLeft+float64(i)*step, base
		name := dayName(d.Date)
		for _, part := range []struct {
			n           int
			class, word string
		}{{d.Done, "mark-good", "done"}, {d.Partial, "mark-warn", "partly done"}, {d.Failed, "mark-bad", "failed"}, {d.Canceled, "mark-quiet", "canceled"}} {
			if part.n == 0 {
				continue
			}
			h := float64(part.n) * scale
			y -= h
			c.Bars = append(c.Bars, bar{round(x + step*.2), round(y), round(step * .6), round(math.Max(h-1, 1)), part.class, name + ": " + digits(part.n) + " " + part.word})
		}
		if (len(days)-1-i)%3 == 0 {
			l := label{round(x + step/2), "middle", name}
			if i == len(days)-1 {
				l.X, l.Anchor = chartWidth, "end"
			}
			c.Labels = append(c.Labels, l)
		}
		c.Rows = append(c.Rows, dayRow{name, d.Runs})
	}
	return c
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

// niceTop is an even number that is not less than n.
func niceTop(n int) int {
	for step := 2; ; step *= 10 {
		for _, f := range []int{1, 2, 5} {
			if n <= step*f {
				return step * f
			}
		}
	}
}

func dayName(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return t.Format("2 Jan")
}
