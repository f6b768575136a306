package cli

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// thing names something of a vmgroup that is not a volume: a repository, a
// recovery point, a policy, a job.
type thing struct{ group, name string }

func (o thing) String() string { return o.group + "/" + o.name }

// thingFlags say which things a command is about. noun and form are for
// messages: "recovery point" and "POINT".
type thingFlags struct {
	noun, form string
	group      string
}

func (f *thingFlags) register(t *tool, cmd *cobra.Command) {
	t.vmgroupFlag(cmd, &f.group, "`vmgroup` of "+plural(f.noun)+" that are given without one")
}

func plural(noun string) string {
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return stem + "ies"
	}
	return noun + "s"
}

// parse reads one thing. The name of a vmgroup contains no slash.
func (f *thingFlags) parse(cmd *cobra.Command, s string) (thing, error) {
	group, name, ok := strings.Cut(s, "/")
	if f.group != "" && strings.HasPrefix(s, vmPrefix) {
		return thing{f.group, s}, nil
	}
	switch {
	case !ok && f.group == "":
		return thing{}, usagef(cmd, "the vmgroup of %s %q is not given: write VMGROUP/%s or add --vmgroup", f.noun, clean(s, false), clean(s, false))
	case !ok:
		group, name = f.group, s
	case f.group != "" && f.group != group && cmd.Flags().Changed("vmgroup"):
		return thing{}, usagef(cmd, "%s %q is not in --vmgroup %s: give one of them", f.noun, clean(s, false), f.group)
	}
	if group == "" || name == "" {
		return thing{}, usagef(cmd, "%q does not name a %s: write VMGROUP/%s", clean(s, false), f.noun, f.form)
	}
	return thing{group, name}, nil
}

func (f *thingFlags) some(cmd *cobra.Command, args []string) (found []thing, err error) {
	for _, a := range args {
		o, err := f.parse(cmd, a)
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, nil
}

// onThing makes the body of a command about one thing and further arguments.
func (t *tool) onThing(f *thingFlags, do func(cmd *cobra.Command, admin Admin, o thing, rest []string) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		o, err := f.parse(cmd, args[0])
		if err != nil {
			return err
		}
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, o, args[1:])
	}
}

// onThings makes the body of a command about several things.
func (t *tool) onThings(f *thingFlags, do func(cmd *cobra.Command, admin Admin, things []thing) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		things, err := f.some(cmd, args)
		if err != nil {
			return err
		}
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, things)
	}
}

// groupArg is the vmgroup that a list is of: the only argument or --vmgroup,
// "" for all.
type groupArg struct{ name string }

func (g *groupArg) register(t *tool, cmd *cobra.Command, what string) {
	cmd.Use += " [VMGROUP]"
	cmd.Args = args(0, 1, "one vmgroup")
	cmd.ValidArgsFunction = first(t.complete(groupNames))
	t.vmgroupFlag(cmd, &g.name, what+" of `vmgroup` only (or give it as the argument)")
}

func (g *groupArg) get(cmd *cobra.Command, args []string) (string, error) {
	if len(args) == 0 {
		return g.name, nil
	}
	if g.name != "" && g.name != args[0] && cmd.Flags().Changed("vmgroup") {
		return "", usagef(cmd, "two vmgroups are named, %q and %q: give one", g.name, args[0])
	}
	return args[0], nil
}

// inGroups runs do for the vmgroup, or with "" for every one.
func inGroups(ctx context.Context, a Admin, group string, do func(group string) error) error {
	if group != "" {
		return do(group)
	}
	groups, err := groupNames(ctx, a)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := do(g); err != nil {
			return err
		}
	}
	return nil
}

// written is a name as the user writes it behind --vmgroup, or without.
func (f *thingFlags) written(group, name string) string {
	if f.group != "" {
		return name
	}
	return group + "/" + name
}

func (f *thingFlags) repositories(ctx context.Context, a Admin) (found []string, err error) {
	all, err := a.Repositories(ctx, f.group)
	for _, r := range all {
		if r.VMGroup != "" {
			found = append(found, f.written(r.VMGroup, r.Name))
		}
	}
	return found, err
}

func preparedNames(ctx context.Context, a Admin) (found []string, err error) {
	all, err := a.Repositories(ctx, "")
	for _, r := range all {
		if r.VMGroup == "" {
			found = append(found, r.Name)
		}
	}
	return found, err
}

// repositoryNames are those of a vmgroup, for flags.
func repositoryNames(group *string) names {
	return func(ctx context.Context, a Admin) (found []string, err error) {
		all, err := a.Repositories(ctx, *group)
		for _, r := range all {
			if r.VMGroup != "" {
				found = append(found, r.Name)
			}
		}
		return found, err
	}
}

func (f *thingFlags) policies(ctx context.Context, a Admin) (found []string, err error) {
	err = inGroups(ctx, a, f.group, func(group string) error {
		all, err := a.Policies(ctx, group)
		for _, p := range all {
			found = append(found, f.written(group, p.Name))
		}
		return err
	})
	return found, err
}

// points are the newest point of every volume by name, and points by id.
func (f *thingFlags) points(ctx context.Context, a Admin) (found []string, err error) {
	err = inGroups(ctx, a, f.group, func(group string) error {
		page, err := a.Points(ctx, group, hostclient.PointsQuery{})
		seen := map[string]bool{}
		for _, p := range page.Points {
			if !seen[p.Volume] {
				found = append(found, f.written(group, p.Volume+"@latest"))
			}
			seen[p.Volume] = true
		}
		for _, p := range page.Points {
			found = append(found, f.written(group, string(p.ID)))
		}
		return err
	})
	return found, err
}

func (f *thingFlags) jobs(ctx context.Context, a Admin) (found []string, err error) {
	page, err := jobPage(ctx, a, f.group, hostclient.JobsQuery{State: "open"})
	for _, j := range page.Jobs {
		found = append(found, f.written(j.VMGroup, string(j.ID)))
	}
	return found, err
}

// amount is a number of bytes in the tables of backup.
func amount(n int64) string {
	if n == 0 {
		return "0B"
	}
	return volspec.Size(n).Table()
}

// ratio is how many times smaller b is than a.
func ratio(a, b int64) string {
	if a <= 0 || b <= 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(a)/float64(b), 'f', 1, 64) + "x"
}

// span is a time in words: 45s, 12m, 5h, 3d.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= 2*u.unit || d == u.unit {
			return strconv.FormatInt(int64(math.Floor(float64(d)/float64(u.unit))), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// allPoints follows a listing to its last page.
func allPoints(ctx context.Context, a Admin, group string, q hostclient.PointsQuery) ([]wire.Point, error) {
	return pages(0, func(after string, n int) ([]wire.Point, string, error) {
		q.After, q.Limit = after, n
		page, err := a.Points(ctx, group, q)
		return page.Points, page.Next, err
	})
}
