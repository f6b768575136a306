package config

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// maxFreeze is how long a guest may be asked to stand still.
const maxFreeze = 10 * time.Second

const (
	day     = 24 * time.Hour
	maxTime = 100 * 365 * day
)

func (c *Config) checkBackup(p *Problems) {
	b := c.Backup
	if b.MasterKeyFile != "" {
		p.absolute("backup.master_key_file", b.MasterKeyFile)
	}
	if !follows(b.CacheDir, c.StateDir) {
		p.absolute("backup.cache_dir", b.CacheDir)
	}
	if !follows(b.ScratchDir, c.StateDir) && !follows(b.ScratchDir, b.CacheDir) {
		p.absolute("backup.scratch_dir", b.ScratchDir)
	}
	p.networks("backup.allow_private", b.AllowPrivate)
	p.number("backup.jobs", b.Jobs, 1, 64)
	p.number("backup.jobs_per_vmgroup", b.JobsPerVMGroup, 1, 64)
	p.number("backup.streams", b.Streams, 0, 256)
	p.between("backup.freeze_lease", b.FreezeLease, time.Second, maxFreeze)
	p.between("backup.freeze_copy_limit", b.FreezeCopyLimit, 0, maxFreeze)
	if b.FreezeCopyLimit > b.FreezeLease {
		p.add("backup.freeze_copy_limit", "%s exceeds freeze_lease %s: a copy must end before the guest thaws", b.FreezeCopyLimit, b.FreezeLease)
	}
	p.share("backup.sample", b.Sample)
	if b.VerifyAfter != 0 {
		p.between("backup.verify_after", b.VerifyAfter, time.Hour, maxTime)
	}
	p.between("backup.keep_jobs", b.KeepJobs, time.Hour, maxTime)
	p.zone("backup.timezone", b.Timezone)
	c.checkSelf(p)
}

func (c *Config) checkSelf(p *Problems) {
	const at = "backup.self"
	s := c.Backup.Self
	p.between(at+".every", s.Every, time.Hour, 31*day)
	p.number(at+".keep", s.Keep, 1, 1000)
	r := s.Repository()
	if s.Type != "" || r != (Repository{Name: r.Name}) {
		r.check(p, at)
	}
	if s.Type == DirectoryRepository && overlap(s.Path, c.StateDir) {
		p.add(at+".path", "%s overlaps with state_dir %s: what destroys the catalog must not destroy its copies", s.Path, c.StateDir)
	}
}

// checkPolicies checks the backup part of each vmgroup.
func (c *Config) checkPolicies(p *Problems) {
	places := map[string]string{}
	c.checkPlace(p, "backup.self", c.Backup.Self.Repository(), places)
	for i, g := range c.VMGroups {
		at := fmt.Sprintf("vmgroup[%d]", i)
		names := map[string]int{}
		for j, r := range g.Repositories {
			at := fmt.Sprintf("%s.repository[%d]", at, j)
			p.name(at+".name", r.Name, names, j, checkWord("repository"))
			r.check(p, at)
			c.checkPlace(p, at, r, places)
		}
		names = map[string]int{}
		for j, policy := range g.Policies {
			at := fmt.Sprintf("%s.policy[%d]", at, j)
			p.name(at+".name", policy.Name, names, j, checkWord("policy"))
			policy.check(p, at, c.Backup.Timezone)
		}
	}
}

func (p *Policy) check(all *Problems, at, zone string) {
	for i, pattern := range p.Volumes {
		all.glob(fmt.Sprintf("%s.volumes[%d]", at, i), pattern)
	}
	for i, pattern := range p.VMs {
		all.glob(fmt.Sprintf("%s.vms[%d]", at, i), pattern)
	}
	for i, pattern := range p.Exclude {
		all.glob(fmt.Sprintf("%s.exclude[%d]", at, i), pattern)
	}
	all.reference(at+".repository", p.Repository, true)
	all.reference(at+".copy_to", p.CopyTo, false)
	if p.CopyTo != "" && p.CopyTo == p.Repository {
		all.add(at+".copy_to", "%q is the policy's repository itself: name another one", p.CopyTo)
	}
	if p.CopyTo == "" && p.Copy != (PolicyCopy{}) {
		all.add(at+".copy", "it says when to copy, but not where to: set copy_to to a second repository, or remove it")
	}
	all.expression(at+".schedule", p.Schedule)
	all.expression(at+".verify.schedule", p.Verify.Schedule)
	all.expression(at+".drill.schedule", p.Drill.Schedule)
	all.expression(at+".copy.schedule", p.Copy.Schedule)
	if p.Timezone != zone { // a wrong default is reported once
		all.zone(at+".timezone", p.Timezone)
	}
	all.oneOf(at+".overlap", p.Overlap, "skip", "queue")
	switch {
	case p.RPO == unsetRPO:
		all.add(at+".rpo", "it is missing, and cannot be told from the schedule %q: write how old the newest good point may be before an alarm, such as 26h, or 0s for no alarm", clip(p.Schedule))
	case p.RPO != 0:
		all.between(at+".rpo", p.RPO, time.Minute, maxTime)
	}
	p.Keep.check(all, at+".keep")
	p.Copy.Keep.check(all, at+".copy.keep")
	all.oneOf(at+".verify.mode", p.Verify.Mode, "quick", "sampled", "full")
	switch {
	case p.Verify.Mode == "sampled":
		all.share(at+".verify.share", p.Verify.Share)
	case p.Verify.Share != 0:
		all.add(at+".verify.share", "this is for mode sampled: remove it, or set mode = %q", "sampled")
	}
	all.oneOf(at+".consistency", p.Consistency, "filesystem", "crash", "filesystem-required")
	all.number(at+".priority", p.Priority, 1, 5)
}

func (k Keep) check(p *Problems, at string) {
	for _, one := range []struct {
		key string
		n   int
	}{{"last", k.Last}, {"hourly", k.Hourly}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"yearly", k.Yearly}} {
		p.number(at+"."+one.key, one.n, 0, 100000)
	}
	p.between(at+".within", k.Within, 0, maxTime)
}

var word = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)

// checkWord checks the name of a repository or policy.
func checkWord(what string) func(string) error {
	return func(s string) error {
		if !word.MatchString(s) || len(s) > volspec.MaxNameLen {
			return errkind.New(errkind.Invalid, "%q is no name of a %s: only [a-zA-Z0-9_][a-zA-Z0-9_.-]* is allowed, up to %d characters", clip(s), what, volspec.MaxNameLen)
		}
		return nil
	}
}

// reference checks the name of a repository, which need not be declared:
// repositories are also made with the mooring command.
func (p *Problems) reference(at, name string, needed bool) {
	if name == "" {
		if needed {
			p.add(at, "it is missing: name a repository of the vmgroup")
		}
		return
	}
	if err := checkWord("repository")(name); err != nil {
		p.add(at, "%s", err)
	}
}

func (p *Problems) glob(at, pattern string) {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		p.add(at, "%q is not a pattern: write a volume's name with *, ? or [a-z], such as db-*", clip(pattern))
	}
}

// expression bounds a calendar expression; what it means is judged elsewhere.
func (p *Problems) expression(at, s string) {
	if len(s) > 256 || slices.ContainsFunc([]rune(s), func(r rune) bool { return r < ' ' || r > '~' }) {
		p.add(at, "%q is not a calendar expression: write one such as daily or Mon..Fri 02:30", clip(s))
	}
}

func (p *Problems) zone(at, name string) {
	if _, err := Zone(name); err != nil {
		p.add(at, "%s", err)
	}
}

func (p *Problems) number(at string, n, lo, hi int) {
	if n < lo || n > hi {
		p.add(at, "%d is out of range: from %d to %d", n, lo, hi)
	}
}

func (p *Problems) share(at string, v float64) {
	if !(v >= 0 && v <= 1) { // also what is not a number
		p.add(at, "%v is out of range: from 0 (nothing) to 1 (all)", v)
	}
}

func clip(s string) string {
	if utf8.RuneCountInString(s) > 100 {
		return string([]rune(s)[:100]) + "…"
	}
	return s
}

// overlap reports whether one path lies in the other, or is it.
func overlap(a, b string) bool {
	return filepath.IsAbs(a) && filepath.IsAbs(b) && (inside(a, b) || inside(b, a))
}
