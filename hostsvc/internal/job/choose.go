package job

import "mooring.dev/mooring/pkg/volspec"

// busyOn is what only one job may work on.
type busyOn struct {
	group        volspec.VMGroupID
	kind, object string
}

func (j Job) on() busyOn { return busyOn{j.Group, j.Kind, j.Object} }

// load is what the running jobs take of the limits.
type load struct {
	total  int // here; the others in all processes
	groups map[volspec.VMGroupID]int
	kinds  map[string]int
	busy   map[busyOn]bool
}

func loadOf(open []Job, o Options) load {
	l := load{groups: map[volspec.VMGroupID]int{}, kinds: map[string]int{}, busy: map[busyOn]bool{}}
	for _, j := range open {
		if j.State != Running {
			continue
		}
		l.busy[j.on()] = true
		l.kinds[j.Kind]++
		if o.Kinds[j.Kind].Free {
			continue
		}
		l.groups[j.Group]++
		if j.Owner == o.Instance {
			l.total++
		}
	}
	return l
}

// room reports whether j may begin now.
func (l load) room(j Job, o Options) bool {
	h, ours := o.Kinds[j.Kind]
	switch {
	case !ours, j.State != Queued:
		return false
	case j.Object != "" && l.busy[j.on()]:
		return false
	case h.Limit > 0 && l.kinds[j.Kind] >= h.Limit:
		return false
	}
	return h.Free || l.total < o.Total && l.groups[j.Group] < o.PerGroup
}

// next chooses the queued job that should begin now. It is pure. open is in
// the order of priority and age. Among jobs of one priority the vmgroup with
// fewer running ones goes first, then the one whose last turn is longer ago:
// one with a thousand jobs does not keep the others waiting. With fair the same
// holds among all jobs, and priority counts only within a vmgroup: a thousand
// urgent ones of one vmgroup do not either.
func next(open []Job, o Options, turns map[volspec.VMGroupID]uint64, fair bool) (Job, bool) {
	l := loadOf(open, o)
	best := -1
	before := func(a, b Job) bool {
		if x, y := l.groups[a.Group], l.groups[b.Group]; x != y {
			return x < y
		}
		return turns[a.Group] < turns[b.Group]
	}
	for i, j := range open {
		if !l.room(j, o) {
			continue
		}
		if best >= 0 && !fair && j.Priority != open[best].Priority {
			break
		}
		if best < 0 || before(j, open[best]) {
			best = i
		}
	}
	if best < 0 {
		return Job{}, false
	}
	return open[best], true
}
