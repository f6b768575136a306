package cli

import (
	"context"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var fileColumns = []column[wire.File]{
	{header: "Mode", value: fileMode},
	{header: "Uid", value: func(f wire.File) string { return strconv.Itoa(f.UID) }},
	{header: "Gid", value: func(f wire.File) string { return strconv.Itoa(f.GID) }},
	{header: "Size", value: func(f wire.File) string { return strconv.FormatInt(f.Size, 10) }},
	{header: "Modified", value: func(f wire.File) string { return f.ModTime.UTC().Format(time.RFC3339) }},
	{header: "Name", value: func(f wire.File) string {
		if f.Type == "symlink" {
			return f.Name + " -> " + f.Target
		}
		return f.Name
	}},
}

// fileMode is a mode as ls -l prints it.
func fileMode(f wire.File) string {
	letter := map[string]byte{"dir": 'd', "symlink": 'l', "device": 'b', "fifo": 'p', "socket": 's'}[f.Type]
	if letter == 0 {
		letter = '-'
	}
	text := []byte(fs.FileMode(f.Mode & 0o777).String())
	text[0] = letter
	for _, special := range []struct {
		bit   uint32
		place int
		with  byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if f.Mode&special.bit == 0 {
			continue
		}
		if text[special.place] == '-' { // without the right to execute
			special.with -= 'a' - 'A'
		}
		text[special.place] = special.with
	}
	return string(text)
}

func (t *tool) backupFiles() *cobra.Command {
	which := aPoint()
	cmd := &cobra.Command{
		Use:   "files [VMGROUP/]POINT [PATH]",
		Short: "List a folder inside a recovery point",
		Example: `  mooring backup files Dev/db@latest
  mooring backup files Dev/db@latest /etc/app`,
		Args:              args(1, 2, "one recovery point and one folder in it"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, rest []string) error {
			folder := "/"
			if len(rest) > 0 {
				folder = rest[0]
			}
			found, err := allFiles(cmd.Context(), admin, o, folder)
			if err != nil {
				return err
			}
			return list(t, found, fileColumns, func(f wire.File) string { return path.Join(folder, f.Name) })
		}),
	}
	which.register(t, cmd)
	return cmd
}

// allFiles follows a folder to its last page.
func allFiles(ctx context.Context, a Admin, o thing, folder string) ([]wire.File, error) {
	return pages(0, func(after string, n int) ([]wire.File, string, error) {
		page, err := a.Files(ctx, o.group, o.name, folder, after, n)
		return page.Files, page.Next, err
	})
}

func (t *tool) backupGet() *cobra.Command {
	which := aPoint()
	var to outFlags
	cmd := &cobra.Command{
		Use:   "get [VMGROUP/]POINT PATH",
		Short: "Fetch one file out of a recovery point",
		Long: `Fetches one file out of a recovery point, into a file of the same name here or into
--out. 'mooring backup tar' fetches folders, with owners and modes.`,
		Example: `  mooring backup get Dev/db@latest /etc/app.conf --out=app.conf.old
  mooring backup get Dev/db@latest /etc/app.conf --out=-`,
		Args:              args(2, 2, "one recovery point and the path of one file in it"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, rest []string) error {
			if to.path == "" {
				to.path = path.Base(path.Clean("/" + rest[0]))
			}
			return t.fetch(cmd, &to, false, func(ctx context.Context) (hostclient.Download, error) {
				return admin.File(ctx, o.group, o.name, rest[0])
			})
		}),
	}
	which.register(t, cmd)
	to.register(cmd, "`file` to write to, - for standard output (default: the file's own name, here)")
	return cmd
}

func (t *tool) backupTar() *cobra.Command {
	which := aPoint()
	var to outFlags
	cmd := &cobra.Command{
		Use:   "tar [VMGROUP/]POINT [PATH...] --out=FILE",
		Short: "Fetch files and folders out of a recovery point as a tar archive",
		Long: `Fetches files and folders out of a recovery point, or everything, as a tar archive
with owners, modes, extended attributes and holes.`,
		Example: `  mooring backup tar Dev/db@latest /etc /var/lib/app --out=db.tar
  mooring backup tar Dev/db@latest --out=- | tar -tv`,
		Args:              args(1, 1<<20, "one recovery point"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, rest []string) error {
			return t.fetch(cmd, &to, false, func(ctx context.Context) (hostclient.Download, error) {
				return admin.Tar(ctx, o.group, o.name, rest)
			})
		}),
	}
	which.register(t, cmd)
	to.register(cmd, "`file` to write to, - for standard output")
	return cmd
}

func (t *tool) backupExport() *cobra.Command {
	which := aPoint()
	var to outFlags
	cmd := &cobra.Command{
		Use:   "export [VMGROUP/]POINT --out=FILE",
		Short: "Write the disk of a recovery point to a file, byte for byte",
		Long: `Writes the disk of a recovery point to a raw image that 'mount -o loop' and every
hypervisor can read. Empty areas take no room in the file.`,
		Example:           `  mooring backup export Dev/db@latest --out=db.img`,
		Args:              args(1, 1, "one recovery point"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			return t.fetch(cmd, &to, true, func(ctx context.Context) (hostclient.Download, error) {
				return admin.Image(ctx, o.group, o.name)
			})
		}),
	}
	which.register(t, cmd)
	to.register(cmd, "`file` to write to, - for standard output")
	return cmd
}
