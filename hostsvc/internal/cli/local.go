package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) configCommand() *cobra.Command {
	var file string
	check := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration file of the daemon",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := t.Config.Effective(file); err != nil {
				return err
			}
			return t.done(file, "Configuration %s is valid.", file)
		},
	}
	var defaults bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration that a file amounts to, defaults filled in",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := file
			if defaults {
				if cmd.Flags().Changed("config") {
					return usagef(cmd, "--defaults and --config exclude each other")
				}
				path = ""
			}
			text, err := t.Config.Effective(path)
			if err != nil {
				return err
			}
			return t.object(wire.Message{Message: text}, path, text)
		},
	}
	show.Flags().BoolVar(&defaults, "defaults", false, "print the defaults alone")
	for _, cmd := range []*cobra.Command{check, show} {
		cmd.Flags().StringVar(&file, "config", t.Config.DefaultPath(), "configuration `file`")
		_ = cmd.MarkFlagFilename("config", "toml")
	}
	return t.group(&cobra.Command{
		Use:   "config",
		Short: "Check and show the daemon's configuration",
		Long:  `These commands read the file themselves; the daemon need not be running.`,
	}, check, show)
}

func (t *tool) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a completion script for a shell",
		Example: `  mooring completion bash > /etc/bash_completion.d/mooring
  source <(mooring completion zsh)`,
		Args:              args(1, 1, "one shell: bash, zsh or fish"),
		ValidArgsFunction: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(t.Out, true)
			case "zsh":
				return root.GenZshCompletion(t.Out)
			case "fish":
				return root.GenFishCompletion(t.Out, true)
			}
			return usagef(cmd, "there is no completion for %q: choose bash, zsh or fish", clean(args[0], false))
		},
	}
}

func (t *tool) manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [DIR]",
		Short: "Write the manual pages to a folder",
		Args:  args(0, 1, "one folder"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && dir != "" && dir != args[0]:
				return usagef(cmd, "two folders are named, %q and %q: give one", dir, args[0])
			case len(args) == 1:
				dir = args[0]
			case dir == "":
				return usagef(cmd, "'%s' needs a folder: add --dir", cmd.CommandPath())
			}
			header := &doc.GenManHeader{Section: "1", Source: "Mooring " + t.Version, Manual: "Mooring Manual"}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return errkind.Wrap(errkind.Unavailable, err, "the folder for the pages cannot be made")
			}
			return errkind.Wrap(errkind.Unavailable, doc.GenManTree(cmd.Root(), header, dir), "the pages cannot be written")
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to write to (or give it as the argument); it is made when absent")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this command",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return t.object(map[string]string{"version": t.Version}, t.Version, "mooring "+t.Version+"\n")
		},
	}
}
