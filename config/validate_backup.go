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
}

// checkPolicies checks the backup part of each vmgroup.
func (c *Config) checkPolicies(p *Problems) {
	places := map[string]string{}
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

func (o Policy) check(p *Problems, at, zone string) {
	for i, pattern := range o.Volumes {
		p.glob(fmt.Sprintf("%s.volumes[%d]", at, i), pattern)
	}
	for i, pattern := range o.Exclude {
		p.glob(fmt.Sprintf("%s.exclude[%d]", at, i), pattern)
	}
	p.reference(at+".repository", o.Repository, true)
	p.reference(at+".copy_to", o.CopyTo, false)
	if o.CopyTo != "" && o.CopyTo == o.Repository {
		p.add(at+".copy_to", "%q is the policy's repository itself: name another one", o.CopyTo)
	}
	if o.CopyTo == "" && o.Copy != (PolicyCopy{}) {
		p.add(at+".copy", "it says when to copy, but not where to: set copy_to to a second repository, or remove it")
	}
	p.expression(at+".schedule", o.Schedule)
	p.expression(at+".verify.schedule", o.Verify.Schedule)
	p.expression(at+".drill.schedule", o.Drill.Schedule)
	p.expression(at+".copy.schedule", o.Copy.Schedule)
	if o.Timezone != zone { // a wrong default is reported once
		p.zone(at+".timezone", o.Timezone)
	}
	p.oneOf(at+".overlap", o.Overlap, "skip", "queue")
	switch {
	case o.RPO == unsetRPO:
		p.add(at+".rpo", "it is missing, and cannot be told from the schedule %q: write how old the newest good point may be before an alarm, such as 26h, or 0s for no alarm", clip(o.Schedule))
	case o.RPO != 0:
		p.between(at+".rpo", o.RPO, time.Minute, maxTime)
	}
	o.Keep.check(p, at+".keep")
	o.Copy.Keep.check(p, at+".copy.keep")
	p.oneOf(at+".verify.mode", o.Verify.Mode, "quick", "sampled", "full")
	switch {
	case o.Verify.Mode == "sampled":
		p.share(at+".verify.share", o.Verify.Share)
	case o.Verify.Share != 0:
		p.add(at+".verify.share", "this is for mode sampled: remove it, or set mode = %q", "sampled")
	}
	p.oneOf(at+".consistency", o.Consistency, "filesystem", "crash", "filesystem-required")
	p.number(at+".priority", o.Priority, 1, 5)
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
