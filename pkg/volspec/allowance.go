package volspec

import "slices"

// Unbounded is an amount without a bound.
const Unbounded int64 = -1

// Amounts are numbers of what is delegated to vmgroups or used by them: sockets
// of the hosts that run protected VMs, protected VMs, protected volumes, and
// bytes in repositories.
type Amounts struct{ Sockets, VMs, Volumes, Storage int64 }

// NoBounds bounds nothing.
var NoBounds = Amounts{Unbounded, Unbounded, Unbounded, Unbounded}

// Use is what of a vmgroup counts against its allowance. A VM or a volume is
// protected as long as it has a recovery point, or a backup that is queued or
// running.
type Use struct {
	VMs     []VMID
	Volumes []VolumeID
	Stored  int64 // bytes in its repositories
}

// Total is a Use of which the volumes were only counted.
type Total struct {
	VMs     []VMID
	Volumes int64
	Stored  int64
}

// Bound is what of one kind a vmgroup may use: what was delegated to it. While
// the pool has a bound, a vmgroup to which nothing was delegated has none.
func Bound(pool, delegated int64) int64 {
	if delegated == Unbounded && pool != Unbounded {
		return 0
	}
	return delegated
}

// Delegated is what of all allowances was delegated to a vmgroup. What was never
// put bounds nothing.
func Delegated(all map[VMGroupID]Amounts, g VMGroupID) Amounts {
	if a, ok := all[g]; ok {
		return a
	}
	return NoBounds
}

// With is u with one VM or one volume more; "" is none.
func (u Use) With(vm VMID, v VolumeID) Use {
	if vm != "" && !slices.Contains(u.VMs, vm) {
		u.VMs = append(slices.Clip(u.VMs), vm)
	}
	if v != "" && !slices.Contains(u.Volumes, v) {
		u.Volumes = append(slices.Clip(u.Volumes), v)
	}
	return u
}
