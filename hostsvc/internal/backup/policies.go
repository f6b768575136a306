package backup

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/job/retention"
	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Words of a policy.
const (
	overlapSkip  = "skip"
	overlapQueue = "queue"

	consistencyBest     = "filesystem"
	consistencyCrash    = "crash"
	consistencyRequired = "filesystem-required"

	defaultPriority = 3
	urgent          = 1
)

// complete fills in what a policy leaves out.
func complete(p wire.Policy, zone string) wire.Policy {
	if p.Enabled == nil {
		on := true
		p.Enabled = &on
	}
	or := func(v *string, def string) {
		if *v == "" {
			*v = def
		}
	}
	or(&p.Timezone, zone)
	or(&p.Overlap, overlapSkip)
	or(&p.Consistency, consistencyBest)
	if p.Verify.Schedule != "" {
		or(&p.Verify.Mode, string(repository.Full))
	}
	if p.Priority == 0 {
		p.Priority = defaultPriority
	}
	return p
}

// checkPolicy finds everything that is wrong with a complete policy.
func checkPolicy(p wire.Policy) error {
	var bad []string
	add := func(err error) {
		if err != nil {
			bad = append(bad, errkind.Text(err))
		}
	}
	say := func(format string, args ...any) { add(errkind.New(errkind.Invalid, format, args...)) }
	if n, err := volspec.ParseName(p.Name); err != nil || n.Datastore != "" {
		say("policy name %q is not valid: use 1 to %d characters without / \\ and @", p.Name, volspec.MaxNameLen)
	}
	for _, pattern := range slices.Concat(p.Volumes, p.VMs, p.Exclude) {
		if _, err := path.Match(pattern, "x"); err != nil || pattern == "" {
			say("pattern %q is not valid: use names with * ? and [a-z]", pattern)
		}
	}
	if p.Repository == "" {
		say("a policy needs a repository: name one of the vmgroup's")
	}
	schedules := []struct{ expr, what string }{{p.Schedule, "schedule"}, {p.Verify.Schedule, "verify schedule"}, {p.DrillSched, "drill schedule"}, {p.Copy.Schedule, "copy schedule"}}
	for _, e := range schedules {
		if e.expr == "" {
			continue
		}
		if _, err := schedule.Parse(e.expr, p.Timezone); err != nil {
			say("%s: %s", e.what, errkind.Text(err))
		}
	}
	if !slices.Contains([]string{overlapSkip, overlapQueue}, p.Overlap) {
		say("overlap %q is not known: use skip or queue", p.Overlap)
	}
	if !slices.Contains([]string{consistencyBest, consistencyCrash, consistencyRequired}, p.Consistency) {
		say("consistency %q is not known: use filesystem, crash or filesystem-required", p.Consistency)
	}
	if m := repository.VerifyMode(p.Verify.Mode); p.Verify.Schedule != "" {
		add(checkMode(m, p.Verify.Share))
	}
	if p.Priority < 1 || p.Priority > 5 {
		say("priority %d is not valid: 1 is first, 5 is last", p.Priority)
	}
	if p.Copy.Schedule != "" && p.Copy.Repository == "" {
		say("a copy schedule needs the repository to copy to")
	}
	if p.Copy.Repository != "" && p.Copy.Repository == p.Repository {
		say("points cannot be copied to the repository they are in: name another one")
	}
	if _, err := duration(p.RPO); err != nil {
		say("rpo: %s", errkind.Text(err))
	}
	for _, k := range []wire.Keep{p.Keep, p.Copy.Keep} {
		_, err := rules(k, p.Timezone)
		add(err)
	}
	if p.Limit < 0 {
		say("limit %d is not valid: write bytes per second, such as 20mb", p.Limit)
	}
	if len(bad) > 0 {
		return errkind.New(errkind.Invalid, "policy %s: %s", p.Name, strings.Join(bad, "; "))
	}
	return nil
}

// checkPolicy also finds what this hypervisor cannot do.
func (s *Service) checkPolicy(p wire.Policy) error {
	if len(p.VMs) > 0 && s.o.Machines == nil {
		return errkind.Wrap(errkind.Unsupported, noMachines, "policy %s names VMs", p.Name)
	}
	return checkPolicy(p)
}

func checkMode(m repository.VerifyMode, share float64) error {
	switch {
	case !slices.Contains([]repository.VerifyMode{repository.Quick, repository.Sampled, repository.Full}, m):
		return errkind.New(errkind.Invalid, "verify mode %q is not known: use quick, sampled or full", m)
	case share < 0 || share > 1:
		return errkind.New(errkind.Invalid, "share %g is not valid: write a part from 0 to 1", share)
	}
	return nil
}

// duration reads a duration of which "" is none; days are written as 48h or
// 2d.
func duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	text := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		if err == nil && d >= 0 && d < 100000*time.Hour {
			return d * 24, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errkind.New(errkind.Invalid, "%q is not a duration: write a number with a unit, such as 26h or 7d", s)
	}
	return d, nil
}

func rules(k wire.Keep, zone string) (retention.Rules, error) {
	within, err := duration(k.Within)
	if err != nil {
		return retention.Rules{}, err
	}
	for _, n := range []int{k.Last, k.Hourly, k.Daily, k.Weekly, k.Monthly, k.Yearly} {
		if n < 0 || n > 100000 {
			return retention.Rules{}, errkind.New(errkind.Invalid, "keep %d is not valid: write a number from 0 to 100000", n)
		}
	}
	return retention.Rules{Last: k.Last, Hourly: k.Hourly, Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly, Yearly: k.Yearly, Within: within, Zone: zone}, nil
}

func presentPolicy(p Policy, group string) wire.Policy {
	out := p.Spec
	out.Name, out.VMGroup, out.Source = p.Name, group, p.Source
	return out
}

// Policies lists those of a vmgroup.
func (s *Service) Policies(ctx context.Context, group string) ([]wire.Policy, error) {
	out := []wire.Policy{}
	err := s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		all, err := tx.Policies(g.ID)
		for _, p := range all {
			out = append(out, presentPolicy(p, g.Name))
		}
		return err
	})
	return out, err
}

// Policy describes one.
func (s *Service) Policy(ctx context.Context, group, name string) (out wire.Policy, err error) {
	err = s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		p, err := tx.PolicyByName(g.ID, name)
		out = presentPolicy(p, g.Name)
		return err
	})
	return out, err
}

// PutPolicy makes a policy, or with replace replaces one whole.
func (s *Service) PutPolicy(ctx context.Context, c volspec.Caller, group string, in wire.Policy, replace bool) (wire.Policy, error) {
	in = complete(in, s.o.Zone)
	if err := s.checkPolicy(in); err != nil {
		return wire.Policy{}, err
	}
	var out wire.Policy
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		g, err := s.group(tx, group)
		if err != nil {
			return err
		}
		p, err := s.putPolicy(tx, g, in, "", replace)
		if err != nil {
			return err
		}
		out = presentPolicy(p, g.Name)
		return tx.AddAudit(entry(ctx, c, g.Name, "policy set", p.Name))
	})
	return out, err
}

// putPolicy writes a checked policy. One that a file declares is changed by
// that file only.
func (s *Service) putPolicy(tx Tx, g volspec.VMGroup, in wire.Policy, source string, replace bool) (Policy, error) {
	for _, name := range []string{in.Repository, in.Copy.Repository} {
		if name == "" {
			continue
		}
		if _, err := tx.RepositoryByName(g.ID, name); err != nil && source == "" {
			return Policy{}, err
		}
	}
	in.VMGroup, in.Source = "", ""
	p, err := tx.PolicyByName(g.ID, in.Name)
	switch {
	case errkind.Is(err, errkind.NotFound) && replace && source == "":
		return p, err
	case errkind.Is(err, errkind.NotFound):
		if err := (volspec.Name{Volume: in.Name}).CheckNew(); err != nil {
			return p, err
		}
		p = Policy{ID: volspec.PolicyID(uuid.NewString()), Group: g.ID, Name: in.Name}
	case err != nil:
		return p, err
	case source == "" && p.Source != "":
		return p, errkind.New(errkind.Denied, "policy %s is declared in %s: change it there and reload", p.Name, p.Source)
	case !replace:
		return p, errkind.New(errkind.Exists, "a policy %s exists already: choose another name, or change it with `mooring backup policy set`", in.Name)
	}
	if !sameSchedules(p.Spec, in) {
		p.Changed = now()
	}
	p.Spec, p.Source = in, source
	return p, tx.PutPolicy(p)
}

// sameSchedules reports whether two policies run at the same times.
func sameSchedules(a, b wire.Policy) bool {
	return a.Enabled != nil && b.Enabled != nil && *a.Enabled == *b.Enabled && a.Timezone == b.Timezone && a.Schedule == b.Schedule &&
		a.Verify.Schedule == b.Verify.Schedule && a.DrillSched == b.DrillSched && a.Copy.Schedule == b.Copy.Schedule
}

// RemovePolicy forgets a policy. Its points stay.
func (s *Service) RemovePolicy(ctx context.Context, c volspec.Caller, group, name string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		g, err := s.group(tx, group)
		if err != nil {
			return err
		}
		p, err := tx.PolicyByName(g.ID, name)
		if err != nil {
			return err
		}
		if p.Source != "" {
			return errkind.New(errkind.Denied, "policy %s is declared in %s: remove it there and reload", p.Name, p.Source)
		}
		if err := tx.DeletePolicy(p.ID); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "policy rm", p.Name))
	})
}

func enabled(p Policy) bool { return p.Spec.Enabled == nil || *p.Spec.Enabled }

// selects reports whether a policy protects a volume: by its name, or because
// the volume names the policy. A volume that names one is of no other's
// patterns.
func selects(p Policy, v Volume) bool {
	if v.Group.ID != p.Group {
		return false
	}
	if own := v.Spec.BackupPolicy; own != "" {
		return own == p.Name
	}
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			short, _ := path.Match(pattern, v.Name.Volume)
			full, _ := path.Match(pattern, v.Name.String())
			return short || full
		})
	}
	return matches(p.Spec.Volumes) && !matches(p.Spec.Exclude)
}
