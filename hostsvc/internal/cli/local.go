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
		Use:   "man",
		Short: "Write the manual pages to a folder",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef(cmd, "'%s' needs a folder: add --dir", cmd.CommandPath())
			}
			header := &doc.GenManHeader{Section: "1", Source: "Mooring " + t.Version, Manual: "Mooring Manual"}
			return writeDocs(dir, func() error { return doc.GenManTree(cmd.Root(), header, dir) })
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`folder` to write to; it is made when absent")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

func writeDocs(dir string, write func() error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "the folder for the pages cannot be made")
	}
	return errkind.Wrap(errkind.Unavailable, write(), "the pages cannot be written")
}

// WriteReference writes the command reference as Markdown to dir, one file
// for each command.
func WriteReference(dir string, o Options) error {
	t := &tool{Options: o}
	return writeDocs(dir, func() error { return doc.GenMarkdownTree(t.root(), dir) })
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
