package schedule

import (
	"fmt"
	"strconv"
	"strings"
)

// unit is one kind of number with its limits.
type unit struct {
	name     string
	min, max int
	width    int
}

var (
	years   = unit{"year", 1970, 2199, 4}
	months  = unit{"month", 1, 12, 2}
	days    = unit{"day", 1, 31, 2}
	fromEnd = unit{"day from the end", 1, 31, 2}
	hours   = unit{"hour", 0, 23, 2}
	minutes = unit{"minute", 0, 59, 2}
	seconds = unit{"second", 0, 59, 2}
)

// part is from, from+step, … up to to; down to it where from is larger.
type part struct {
	from, to, step int
	star           bool // was written as *
}

// field is a set of numbers, and how it is written.
type field struct {
	unit  unit
	parts []part
	bits  uint64 // the set, for units that end below 64
}

// star is the field that every value matches.
func (u unit) star() field { return u.field(part{from: u.min, to: u.max, step: 1, star: true}) }

// only is the field of one value.
func (u unit) only(n int) field { return u.field(part{from: n, to: n, step: 1}) }

func (u unit) field(parts ...part) field {
	f := field{unit: u, parts: parts}
	if u.max < 64 {
		for n := u.min; n <= u.max; n++ {
			if f.contains(n) {
				f.bits |= 1 << n
			}
		}
	}
	return f
}

func (f field) contains(n int) bool {
	for _, p := range f.parts {
		lo, hi := min(p.from, p.to), max(p.from, p.to)
		if n >= lo && n <= hi && (n-p.from)%p.step == 0 {
			return true
		}
	}
	return false
}

// all reports whether every value matches.
func (f field) all() bool {
	for n := f.unit.min; n <= f.unit.max; n++ {
		if !f.contains(n) {
			return false
		}
	}
	return true
}

// parse reads a list. What is wrong is said in a part of a sentence.
func (u unit) parse(text string) (field, error) {
	var parts []part
	for item := range strings.SplitSeq(text, ",") {
		p, err := u.part(item)
		if err != nil {
			return field{}, err
		}
		parts = append(parts, p)
	}
	return u.field(parts...), nil
}

func (u unit) part(text string) (p part, err error) {
	body, step, stepped := strings.Cut(text, "/")
	p.step = 1
	if stepped {
		if p.step, err = strconv.Atoi(step); err != nil || p.step < 1 || p.step > u.max || !digits(step) {
			return p, fmt.Errorf("the step %q of %s is not a number from 1 to %d", step, u.name, u.max)
		}
	}
	last := u.max // where a step leads
	if u == fromEnd {
		last = u.min
	}
	low, high, ranged := strings.Cut(body, "..")
	switch {
	case body == "*":
		p.from, p.to, p.star = u.min, u.max, true
		return p, nil
	case ranged:
		if p.from, err = u.number(low); err != nil {
			return p, err
		}
		if p.to, err = u.number(high); err != nil {
			return p, err
		}
		if (p.to < p.from) != (u == fromEnd) && p.to != p.from {
			return p, fmt.Errorf("the range %s of %s runs backwards", body, u.name)
		}
		return p, nil
	}
	if p.from, err = u.number(body); err != nil {
		return p, err
	}
	p.to = p.from
	if stepped {
		p.to = last
	}
	return p, nil
}

func (u unit) number(text string) (int, error) {
	if text == "" {
		return 0, fmt.Errorf("a number of %s is missing", u.name)
	}
	n, err := strconv.Atoi(text)
	if err != nil || !digits(text) {
		return 0, fmt.Errorf("%q is not a number of %s", text, u.name)
	}
	if n < u.min || n > u.max {
		return 0, fmt.Errorf("%s %d is not between %d and %d", u.name, n, u.min, u.max)
	}
	return n, nil
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" && len(s) <= 4 }

func (f field) String() string {
	var items []string
	for _, p := range f.parts {
		var s string
		switch {
		case p.star:
			s = "*"
		case p.from == p.to:
			s = f.unit.print(p.from)
		case p.step > 1 && p.to == f.unit.max, p.step > 1 && f.unit == fromEnd && p.to == f.unit.min:
			s = f.unit.print(p.from)
		default:
			s = f.unit.print(p.from) + ".." + f.unit.print(p.to)
		}
		if p.step > 1 && (p.star || p.from != p.to) {
			s += "/" + strconv.Itoa(p.step)
		}
		items = append(items, s)
	}
	return strings.Join(items, ",")
}

func (u unit) print(n int) string { return fmt.Sprintf("%0*d", u.width, n) }
