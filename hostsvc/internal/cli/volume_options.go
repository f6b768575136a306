package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// optionFlags collect key=value options: a comma list as in the old script,
// or one to a flag where values contain commas.
type optionFlags struct {
	list string
	each []string
}

func (o *optionFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.list, "options", "", "options as a comma-separated `list`: \"key=value, key=value\"")
	cmd.Flags().StringArrayVar(&o.each, "option", nil, "one option as `key=value`; may be repeated, and the value may contain commas")
	_ = cmd.RegisterFlagCompletionFunc("options", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("option", cobra.NoFileCompletions)
}

// get reads the options; the same key twice is an error.
func (o *optionFlags) get(cmd *cobra.Command) (map[string]string, error) {
	pairs := slices.Clone(o.each)
	if strings.TrimSpace(o.list) != "" {
		for p := range strings.SplitSeq(o.list, ",") {
			pairs = append(pairs, strings.TrimSpace(p))
		}
	}
	found := map[string]string{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, usagef(cmd, "option %q is not of the form key=value; a value with commas needs --option", clean(p, false))
		}
		if _, twice := found[key]; twice {
			return nil, usagef(cmd, "option %q is given twice", clean(key, false))
		}
		found[key] = strings.TrimSpace(value)
	}
	return found, nil
}

// editable are the options that volume set changes.
var editable = []string{"access", "attach-as", "mountopts", "protect", "backup-policy"}

// change translates options into a request. The first words of the error are
// the old script's.
func change(cmd *cobra.Command, o object, options map[string]string) (wire.SetVolume, error) {
	fail := func(format string, args ...any) error {
		return usagef(cmd, "Failed to update %s for %s - %s", clean(pairs(options), false), clean(o.volume, false), fmt.Sprintf(format, args...))
	}
	var body wire.SetVolume
	var unknown []string
	for _, k := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(editable, k) {
			unknown = append(unknown, clean(k, false))
		}
	}
	if len(unknown) > 0 {
		hint := ""
		if best := closest(unknown[0], editable); best != "" {
			hint = fmt.Sprintf(" Did you mean %q?", best)
		}
		return body, fail("Invalid options: ['%s'] Options that can be edited: ['%s'].%s", strings.Join(unknown, "', '"), strings.Join(editable, "', '"), hint)
	}
	none := ""
	for k, clear := range map[string]func(){
		"mountopts":     func() { body.MountOpts = &[]string{} },
		"backup-policy": func() { body.BackupPolicy = &none },
	} {
		if v, given := options[k]; given && v == "" {
			clear()
			options = maps.Clone(options)
			delete(options, k)
		}
	}
	spec, err := volspec.ParseOptions(options)
	if err != nil {
		return body, fail("%s", errkind.Text(err))
	}
	for k := range options {
		switch k {
		case "access":
			body.Access = &spec.Access
		case "attach-as":
			body.AttachAs = &spec.AttachAs
		case "mountopts":
			body.MountOpts = &spec.MountOpts
		case "protect":
			body.Protect = &spec.Protect
		case "backup-policy":
			body.BackupPolicy = &spec.BackupPolicy
		}
	}
	return body, nil
}

// pairs prints options as they are written.
func pairs(options map[string]string) string {
	var p []string
	for _, k := range slices.Sorted(maps.Keys(options)) {
		p = append(p, k+"="+options[k])
	}
	return strings.Join(p, ", ")
}

func (t *tool) volumeSet() *cobra.Command {
	var which volumeFlags
	var given optionFlags
	var policy string
	cmd := &cobra.Command{
		Use:   "set [VMGROUP/]VOLUME",
		Short: "Change options of a volume",
		Long: `Changes options of a volume: access (read-write or read-only), attach-as,
mountopts, protect and backup-policy. It works while the volume is attached;
access, attach-as and mountopts take effect when it is attached next.`,
		Example: `  mooring volume set --volume=db@fast --vmgroup=Dev --options="access=read-only"
  mooring volume set Dev/db --option mountopts=noatime,discard
  mooring volume set Dev/db --backup-policy=nightly`,
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			options, err := given.get(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("backup-policy") {
				if _, twice := options["backup-policy"]; twice {
					return usagef(cmd, "the backup policy is given twice: as --backup-policy and as an option")
				}
				options["backup-policy"] = policy
			}
			if len(options) == 0 {
				return usagef(cmd, "nothing to change: add --options \"key=value\" with %s", strings.Join(editable, ", "))
			}
			body, err := change(cmd, o, options)
			if err != nil {
				return err
			}
			v, err := admin.SetVolume(cmd.Context(), o.group, o.volume, body)
			if err != nil {
				return err
			}
			return t.object(v, qualified(v), fmt.Sprintf("Successfully updated settings for %s\n", clean(o.volume, false)))
		}),
	}
	which.register(t, cmd, which.names)
	given.register(cmd)
	cmd.Flags().StringVar(&policy, "backup-policy", "", "`name` of the vmgroup's policy that backs the volume up, \"\" for none of its own")
	return cmd
}
