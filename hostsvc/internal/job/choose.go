package job

import "mooring.dev/mooring/pkg/volspec"

// busyOn is what only one job may work on.
type busyOn struct {
	group        volspec.VMGroupID
	kind, object string
}

// next chooses the queued job that should begin now. It is pure. open is in
// the order of priority and age. Among jobs of the same priority the vmgroup
// that has fewer running goes first, so that one with a thousand jobs does
// not keep the others waiting.
func next(open []Job, o Options, free func(kind string) bool) (Job, bool) {
	total, perGroup := 0, map[volspec.VMGroupID]int{}
	busy := map[busyOn]bool{}
	for _, j := range open {
		if j.State != Running {
			continue
		}
		busy[j.on()] = true
		if !free(j.Kind) && j.Owner == o.Instance {
			total++
		}
		if !free(j.Kind) {
			perGroup[j.Group]++
		}
	}
	best := -1
	for i, j := range open {
		if j.State != Queued || j.Object != "" && busy[j.on()] {
			continue
		}
		if _, ours := o.Kinds[j.Kind]; !ours {
			continue
		}
		if !free(j.Kind) && (total >= o.Total || perGroup[j.Group] >= o.PerGroup) {
			continue
		}
		if free(j.Kind) {
			return j, true
		}
		if best < 0 || j.Priority == open[best].Priority && perGroup[j.Group] < perGroup[open[best].Group] {
			best = i
		}
	}
	if best < 0 {
		return Job{}, false
	}
	return open[best], true
}

func (j Job) on() busyOn { return busyOn{j.Group, j.Kind, j.Object} }
