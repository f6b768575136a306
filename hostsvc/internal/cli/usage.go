package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mooring.dev/mooring/pkg/errkind"
)

// usage is an error of the command line itself: nothing was asked of the
// service.
type usage struct {
	path string // of the command whose help explains it
	msg  string
}

func (u *usage) Error() string { return u.msg }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usage{path: cmd.CommandPath(), msg: fmt.Sprintf(format, args...)}
}

// partial is the outcome of a verb on several objects of which some failed.
type partial struct {
	done int
	errs []error
}

func (p *partial) Error() string { return errkind.Text(errors.Join(p.errs...)) }

// each runs do for every item, whatever becomes of the others. A single
// failing item gives its own error.
func each[T any](items []T, do func(T) error) error {
	var p partial
	for _, item := range items {
		if err := do(item); err != nil {
			p.errs = append(p.errs, err)
			continue
		}
		p.done++
	}
	switch {
	case len(p.errs) == 0:
		return nil
	case len(items) == 1:
		return p.errs[0]
	}
	return &p
}

// group makes a command that only holds others.
func (t *tool) group(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Use += " COMMAND"
	cmd.DisableFlagsInUseLine = true
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ""
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			hint = fmt.Sprintf(": did you mean %q?", s[0])
		}
		return usagef(cmd, "%q is not a command of '%s'%s", clean(args[0], false), cmd.CommandPath(), hint)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		_ = cmd.Help()
		return usagef(cmd, "'%s' needs a command: choose one of the above", cmd.CommandPath())
	}
	cmd.AddCommand(subs...)
	return cmd
}

// args checks the number of positional arguments; what names them.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(cmd, "'%s' needs %s", cmd.CommandPath(), what)
		case len(args) > most && most == 0:
			return usagef(cmd, "'%s' takes no arguments, %q is too much", cmd.CommandPath(), clean(args[0], false))
		case len(args) > most:
			return usagef(cmd, "'%s' takes only %s, %q is too much", cmd.CommandPath(), what, clean(args[most], false))
		}
		return nil
	}
}

var noArgs = args(0, 0, "")

// flagError rewrites the flag library's errors; an unknown flag gets a
// suggestion.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return usagef(cmd, "%s", err)
	}
	name := unknown.GetSpecifiedName()
	if unknown.GetSpecifiedShortnames() != "" {
		return usagef(cmd, "'%s' has no flag -%s", cmd.CommandPath(), name)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	hint := ""
	if best := closest(name, names); best != "" {
		hint = ": did you mean --" + best + "?"
	}
	return usagef(cmd, "'%s' has no flag --%s%s", cmd.CommandPath(), name, hint)
}

// closest is the candidate that word is most probably a misspelling of, or "".
func closest(word string, candidates []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(word), c)
		if len(word) > 2 && strings.HasPrefix(c, word) {
			d = 1
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
