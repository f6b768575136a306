package tenancy

import (
	"fmt"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// kind is one of the things that are delegated.
type kind struct {
	name, flag  string
	of          func(*volspec.Amounts) *int64
	ofWire      func(*wire.Amounts) **int64
	ofPool      func(*wire.Pool) *wire.PoolShare
	ofAllowance func(*wire.Allowance) *wire.Share
	text        func(int64) string
}

var (
	sockets = kind{
		"sockets", "sockets", func(a *volspec.Amounts) *int64 { return &a.Sockets }, func(a *wire.Amounts) **int64 { return &a.Sockets },
		func(p *wire.Pool) *wire.PoolShare { return &p.Sockets }, func(a *wire.Allowance) *wire.Share { return &a.Sockets }, number,
	}
	vms = kind{
		"protected VMs", "vms", func(a *volspec.Amounts) *int64 { return &a.VMs }, func(a *wire.Amounts) **int64 { return &a.VMs },
		func(p *wire.Pool) *wire.PoolShare { return &p.VMs }, func(a *wire.Allowance) *wire.Share { return &a.VMs }, number,
	}
	volumes = kind{
		"protected volumes", "volumes", func(a *volspec.Amounts) *int64 { return &a.Volumes }, func(a *wire.Amounts) **int64 { return &a.Volumes },
		func(p *wire.Pool) *wire.PoolShare { return &p.Volumes }, func(a *wire.Allowance) *wire.Share { return &a.Volumes }, number,
	}
	storage = kind{
		"backup storage", "storage", func(a *volspec.Amounts) *int64 { return &a.Storage }, func(a *wire.Amounts) **int64 { return &a.Storage },
		func(p *wire.Pool) *wire.PoolShare { return &p.Storage }, func(a *wire.Allowance) *wire.Share { return &a.Storage }, bytesText,
	}
	kinds = []kind{sockets, vms, volumes, storage}
)

func number(n int64) string { return fmt.Sprint(n) }

func bytesText(n int64) string {
	if n == 0 {
		return "0B"
	}
	return volspec.Size(n).String()
}

func amountsOf(req wire.Amounts) (volspec.Amounts, error) {
	out := volspec.NoBounds
	for _, k := range kinds {
		n := *k.ofWire(&req)
		if n == nil {
			continue
		}
		if *n < 0 {
			return out, errkind.New(errkind.Invalid, "%d %s are not valid: write a number from 0, or leave it out for no bound", *n, k.name)
		}
		*k.of(&out) = *n
	}
	return out, nil
}

// amountsText is a request in the audit log.
func amountsText(req wire.Amounts) string {
	var words []string
	for _, k := range kinds {
		n := "unlimited"
		if v := *k.ofWire(&req); v != nil {
			n = k.text(*v)
		}
		words = append(words, k.flag+"="+n)
	}
	return strings.Join(words, " ")
}

// allotment is what was delegated to a vmgroup and what it uses.
type allotment struct {
	group         volspec.VMGroup
	desired, used volspec.Amounts
}

// effective is what counts against the pool.
func (a allotment) effective(k kind, pool volspec.Amounts) int64 {
	return max(volspec.Bound(*k.of(&pool), *k.of(&a.desired)), *k.of(&a.used))
}

// shares are how it is shown.
func (a allotment) shares(pool volspec.Amounts) (out wire.Allowance) {
	for _, k := range kinds {
		bound := volspec.Bound(*k.of(&pool), *k.of(&a.desired))
		*k.ofAllowance(&out) = wire.Share{
			Used: *k.of(&a.used), Bounded: bound != volspec.Unbounded, Desired: max(bound, 0), Effective: a.effective(k, pool),
		}
	}
	return out
}

// allotments reads the pool and the facts of these vmgroups, or with none named
// of all.
func (s *Service) allotments(tx AllowanceTx, at placement, of ...volspec.VMGroup) (pool volspec.Amounts, all []allotment, err error) {
	if pool, err = tx.Pool(); err != nil {
		return pool, nil, err
	}
	var ids []volspec.VMGroupID
	for _, g := range of {
		ids = append(ids, g.ID)
	}
	if len(of) == 0 {
		if of, err = tx.Groups(); err != nil {
			return pool, nil, err
		}
	}
	desired, err := tx.Allowances(ids...)
	if err != nil {
		return pool, nil, err
	}
	totals, err := tx.Totals(ids...)
	for _, g := range of {
		u := totals[g.ID]
		a := allotment{group: g, desired: volspec.Delegated(desired, g.ID)}
		a.used = volspec.Amounts{Sockets: at.sockets(u.VMs), VMs: int64(len(u.VMs)), Volumes: u.Volumes, Storage: u.Stored}
		if s.o.Pending != nil {
			a.used.Storage += s.o.Pending(g.ID)
		}
		all = append(all, a)
	}
	return pool, all, err
}

// grows decides about a new allowance of g: whoever takes more than before must
// find it in the pool. It is pure.
func grows(pool volspec.Amounts, all []allotment, g volspec.VMGroup, desired volspec.Amounts, at placement) error {
	for _, k := range kinds {
		size := *k.of(&pool)
		if size == volspec.Unbounded {
			continue
		}
		var others, before, after int64
		for _, a := range all {
			if a.group.ID != g.ID {
				others += a.effective(k, pool)
				continue
			}
			before = a.effective(k, pool)
			a.desired = desired
			after = a.effective(k, pool)
		}
		if after <= before {
			continue
		}
		if k.flag == sockets.flag && at.err != nil {
			return at.err
		}
		if left := max(size-others, 0); after > left {
			return errkind.New(errkind.Quota, "vmgroup %s cannot have %s %s: the pool has %s, of which %s are delegated to other vmgroups and %s are left; take them from another vmgroup, or raise the pool with `mooring allowance pool set --%s=…`",
				g.Name, k.text(after), k.name, k.text(size), k.text(others), k.text(left), k.flag)
		}
	}
	return nil
}

// shrinks decides about a new pool. It is pure.
func shrinks(old, pool volspec.Amounts, all []allotment, at placement) error {
	for _, k := range kinds {
		size, before := *k.of(&pool), *k.of(&old)
		if size == volspec.Unbounded || before != volspec.Unbounded && size >= before {
			continue
		}
		if k.flag == sockets.flag && at.err != nil {
			return at.err
		}
		var sum int64
		for _, a := range all {
			sum += a.effective(k, pool)
		}
		if sum > size {
			return errkind.New(errkind.Quota, "a pool of %s %s is too small: %s are delegated, to %s; take some of them back with `mooring vmgroup allowance set --name=NAME --%s=…`, or choose a larger pool",
				k.text(size), k.name, k.text(sum), holders(k, pool, all), k.flag)
		}
	}
	return nil
}

// maxHolders is how many vmgroups a refusal names.
const maxHolders = 10

// holders names who has how much, the largest first.
func holders(k kind, pool volspec.Amounts, all []allotment) string {
	all = slices.DeleteFunc(slices.Clone(all), func(a allotment) bool { return a.effective(k, pool) == 0 })
	slices.SortStableFunc(all, func(a, b allotment) int {
		return int(min(max(b.effective(k, pool)-a.effective(k, pool), -1), 1))
	})
	var names []string
	for i, a := range all {
		if i == maxHolders {
			names = append(names, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		names = append(names, a.group.Name+" ("+k.text(a.effective(k, pool))+")")
	}
	return strings.Join(names, ", ")
}
