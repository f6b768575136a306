package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/volspec"
)

// completionTimeout bounds how long a shell waits for names.
const completionTimeout = 2 * time.Second

// names asks the service for what may stand at the cursor.
type names func(ctx context.Context, a Admin) ([]string, error)

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers names. A service that does not answer offers nothing: a
// shell's prompt is no place for errors. In a comma list the last word is
// completed.
func (t *tool) complete(fetch names) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		admin, err := t.admin()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := fetch(ctx, admin)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		head := ""
		if i := strings.LastIndexByte(typed, ','); i >= 0 {
			head = typed[:i+1]
		}
		var offers []string
		for _, name := range found {
			// A name with a control character has no place on a prompt.
			if offer := head + name; strings.HasPrefix(offer, typed) && clean(name, false) == name {
				offers = append(offers, offer)
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

func (t *tool) completeFlag(cmd *cobra.Command, flag string, fetch names) {
	// The only error is a flag that does not exist or is registered twice: a
	// test runs every completion.
	_ = cmd.RegisterFlagCompletionFunc(flag, t.complete(fetch))
}

// vmgroupFlag adds --vmgroup, completed.
func (t *tool) vmgroupFlag(cmd *cobra.Command, to *string, usage string) {
	cmd.Flags().StringVar(to, "vmgroup", "", usage)
	t.completeFlag(cmd, "vmgroup", groupNames)
}

// first offers names for the first argument only.
func first(c completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, typed)
	}
}

func groupNames(ctx context.Context, a Admin) (found []string, err error) {
	groups, err := a.VMGroups(ctx)
	for _, g := range groups {
		found = append(found, g.Name)
	}
	return found, err
}

func vmNames(ctx context.Context, a Admin) (found []string, err error) {
	vms, err := a.VMs(ctx)
	for _, v := range vms {
		found = append(found, v.Name)
	}
	return found, err
}

func datastoreNames(ctx context.Context, a Admin) (found []string, err error) {
	stores, err := a.Datastores(ctx)
	for _, d := range stores {
		found = append(found, d.Name)
	}
	return found, err
}

func accessDatastores(ctx context.Context, a Admin) ([]string, error) {
	found, err := datastoreNames(ctx, a)
	return append(found, volspec.VMDatastore, volspec.AllDatastores), err
}
