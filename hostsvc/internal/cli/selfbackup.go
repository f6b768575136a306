package cli

import (
	"context"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type selfBackupAdmin interface {
	SelfBackup(ctx context.Context) (wire.SelfBackup, error)
	SelfBackupNow(ctx context.Context) (wire.SelfBackup, error)
	SelfBackupKit(ctx context.Context) (wire.Kit, error)
}

var copyColumns = []column[wire.CatalogCopy]{
	{header: "Copy", value: func(c wire.CatalogCopy) string { return string(c.ID) }},
	{header: "Created", value: func(c wire.CatalogCopy) string { return moment(c.Created) }},
	{header: "Size", value: func(c wire.CatalogCopy) string { return volspec.Size(c.Size).String() }},
	{header: "Rows", value: func(c wire.CatalogCopy) string { return strconv.FormatInt(c.Rows, 10) }},
}

func (t *tool) selfBackupCommand() *cobra.Command {
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the copies of the catalog",
		Long: `Lists the copies of the catalog, the newest first, and says below when the next one
is made, what went wrong with the last one, and whether the kit was ever exported.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			s, err := admin.SelfBackup(cmd.Context())
			if err != nil {
				return err
			}
			return t.selfBackup(s)
		}),
	}
	now := &cobra.Command{
		Use:   "now",
		Short: "Make a copy of the catalog now",
		Long: `Makes a copy of the catalog now, reads it back, and lists the copies there are. It
needs [backup.self] in the configuration.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			s, err := admin.SelfBackupNow(cmd.Context())
			if err != nil {
				return err
			}
			return t.selfBackup(s)
		}),
	}
	return t.group(&cobra.Command{
		Use:   "self-backup",
		Short: "Back up the service itself",
		Long: `The service copies its catalog, its master key, its authorities and its configuration
into a repository of their own: [backup.self] in the configuration says where to and
how often. With the kit and that repository 'mooringd recover' makes an empty machine
the same service again.`,
	}, ls, now, t.selfBackupKit())
}

func (t *tool) selfBackup(s wire.SelfBackup) error {
	if t.format != formatTable && t.format != formatWide {
		return t.object(s, string(s.Repository), "")
	}
	if !s.Configured {
		t.talk("The catalog is not backed up: name a place in [backup.self] of the configuration and restart mooringd.")
		return nil
	}
	if err := list(t, s.Copies, copyColumns, func(c wire.CatalogCopy) string { return string(c.ID) }); err != nil {
		return err
	}
	if s.Error != "" {
		t.talk("The last attempt failed: %s", s.Error)
	}
	if !s.Next.IsZero() {
		t.talk("The next copy is made at %s.", moment(s.Next))
	}
	if s.Kit.IsZero() {
		t.talk("Its kit was never exported, and without it no copy can be read: 'mooring self-backup kit --out=FILE'.")
	}
	return nil
}

func (t *tool) selfBackupKit() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "kit",
		Short: "Print or save the recovery kit of the service itself",
		Long: `Prints what 'mooringd recover' needs beside the repository with the copies: its key, its
place and the credentials of that. Whoever has it can read the whole catalog, with the
keys of all repositories. Keep it outside this installation. A file is made with mode
0600 and never overwritten. The export is audited.`,
		Example: `  mooring self-backup kit --out=mooring.kit`,
		Args:    noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			if out != "" {
				if _, err := os.Lstat(out); err == nil { // before a secret is asked for; again when it is made
					return fileExists("the recovery kit", out)
				}
			}
			kit, err := admin.SelfBackupKit(cmd.Context())
			if err != nil {
				return err
			}
			if out == "" {
				return t.object(kit, "self-backup", kit.Text)
			}
			if err := writeSecret("the recovery kit", out, kit.Text); err != nil {
				return err
			}
			return t.done("self-backup", "The recovery kit of this service is in %s. Keep it outside this installation.", out)
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to make, with mode 0600; without it the kit is printed")
	return cmd
}
