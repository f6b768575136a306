package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) repositoryCreate() *cobra.Command {
	which := aRepository()
	var place placeFlags
	cmd := &cobra.Command{
		Use:   "create [VMGROUP/]NAME --type=TYPE",
		Short: "Make a repository for a vmgroup",
		Long: `Makes a repository in a place that holds none. Its key is random and never leaves
the host service but in the recovery kit. The name is printed.`,
		Example: `  mooring repository create Dev/main --type=directory --path=/srv/backup/dev
  mooring repository create Dev/offsite --type=s3 --endpoint=s3.example.org --bucket=dev-backup --credentials-file=s3.keys
  mooring repository create Dev/vault --type=sftp --host=vault.example.org --user=mooring --path=/backup/dev --host-key='ssh-ed25519 AAAA' --credentials-file=sftp.keys`,
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			body, err := place.request(cmd, o.name)
			if err != nil {
				return err
			}
			return t.made(admin.CreateRepository(cmd.Context(), o.group, body))
		}),
	}
	which.register(t, cmd)
	place.register(cmd)
	return cmd
}

// made prints a new repository.
func (t *tool) made(r wire.Repository, err error) error {
	if err != nil {
		return err
	}
	if err := t.object(r, repositoryName(r), clean(repositoryName(r), false)+"\n"); err != nil {
		return err
	}
	if r.VMGroup != "" && r.Kit.IsZero() && (t.format == formatTable || t.format == formatWide) {
		t.talk("Keep its recovery kit outside this installation: 'mooring repository kit %s --out=FILE'.", repositoryName(r))
	}
	return nil
}

func (t *tool) repositoryAttach() *cobra.Command {
	which := aRepository()
	var place placeFlags
	var keyFile, kitFile string
	cmd := &cobra.Command{
		Use:   "attach [VMGROUP/]NAME --kit=FILE",
		Short: "Take up a repository that exists, with its recovery points",
		Long: `Takes up a repository that exists, of this or of another installation, with the
recovery points in it. The recovery kit alone is enough; what it does not hold,
such as credentials, or what has changed since, such as the place, is added with
the flags of 'create'; of a folder that was moved, --path alone is enough. Without a
kit, --key-file has the repository's key.`,
		Example: `  mooring repository attach Dev/main --kit=old.kit
  mooring repository attach Dev/main --type=directory --path=/mnt/old --key-file=main.key`,
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			body, err := attachRequest(cmd, &place, o.name, keyFile, kitFile)
			if err != nil {
				return err
			}
			r, err := admin.CreateRepository(cmd.Context(), o.group, body)
			if err != nil {
				return err
			}
			return t.object(r, repositoryName(r), clean(repositoryName(r), false)+"\n")
		}),
	}
	which.register(t, cmd)
	place.register(cmd)
	cmd.Flags().StringVar(&keyFile, "key-file", "", "`file` with the repository's key")
	cmd.Flags().StringVar(&kitFile, "kit", "", "`file` with the repository's recovery kit")
	return cmd
}

func attachRequest(cmd *cobra.Command, place *placeFlags, name, keyFile, kitFile string) (body wire.CreateRepository, err error) {
	switch {
	case keyFile == "" && kitFile == "":
		return body, usagef(cmd, "nothing here opens the repository: add --kit with its recovery kit, or --key-file with its key")
	case keyFile != "" && kitFile != "":
		return body, usagef(cmd, "--key-file and --kit exclude each other: the kit holds the key")
	}
	if kitFile != "" && place.location == (wire.Location{Path: place.location.Path}) && place.location.Path != "" {
		place.location.Type = "directory" // one that was moved
	}
	if kitFile != "" && place.location == (wire.Location{}) {
		body.Name = name
		if place.credentials != "" {
			if body.Credentials, err = readCredentials(place.credentials); err != nil {
				return body, err
			}
		}
	} else if body, err = place.request(cmd, name); err != nil {
		return body, err
	}
	body.Attach = true
	if kitFile != "" {
		body.Kit, err = readSecret(kitFile, "the recovery kit")
		return body, err
	}
	body.Key, err = readSecret(keyFile, "the key file")
	body.Key = strings.TrimSpace(body.Key)
	return body, err
}

func (t *tool) repositoryKit() *cobra.Command {
	which := aRepository()
	var options wire.KitOptions
	var out string
	cmd := &cobra.Command{
		Use:   "kit [VMGROUP/]NAME",
		Short: "Print or save the recovery kit of a repository",
		Long: `Prints the recovery kit of a repository: its key and its place, with instructions.
Whoever has the kit and can reach the place can read every recovery point, with
'mooring repository attach --kit', and without this program with kopia. Keep it
outside this installation, where you would keep a key. A file is made with mode
0600 and never overwritten. The export is audited.`,
		Example: `  mooring repository kit Dev/main --out=dev-main.kit
  mooring repository kit Dev/offsite --with-credentials >offsite.kit`,
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: first(t.complete(which.repositories)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			if out != "" {
				if _, err := os.Lstat(out); err == nil { // before a secret is asked for; again when it is made
					return fileExists("the recovery kit", out)
				}
			}
			kit, err := admin.RepositoryKit(cmd.Context(), o.group, o.name, options)
			if err != nil {
				return err
			}
			if out == "" {
				return t.object(kit, o.String(), kit.Text)
			}
			if err := writeSecret("the recovery kit", out, kit.Text); err != nil {
				return err
			}
			return t.done(o.String(), "The recovery kit of repository %s is in %s. Keep it outside this installation.", o, out)
		}),
	}
	which.register(t, cmd)
	cmd.Flags().StringVar(&out, "out", "", "`file` to make, with mode 0600; without it the kit is printed")
	cmd.Flags().BoolVar(&options.Credentials, "with-credentials", false, "also the credentials of the place")
	return cmd
}

func fileExists(what, path string) error {
	return errkind.New(errkind.Exists, "%s is not written: %s exists already, name another file", what, path)
}

// writeSecret makes a file that only its owner can read. A file that exists is
// left alone.
func writeSecret(what, path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fileExists(what, path)
	}
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Sync(), f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s cannot be written", what)
}

func (t *tool) repositoryCredentials() *cobra.Command {
	which := aRepository()
	var file string
	cmd := &cobra.Command{
		Use:               "credentials [VMGROUP/]NAME --credentials-file=FILE",
		Short:             "Change the credentials of a repository's place",
		Long:              `Changes the credentials of a repository's place. They are tried before they are kept.`,
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: first(t.complete(which.repositories)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			if file == "" {
				return usagef(cmd, "'%s' needs the credentials: add --credentials-file", cmd.CommandPath())
			}
			c, err := readCredentials(file)
			if err != nil {
				return err
			}
			if _, err := admin.SetCredentials(cmd.Context(), o.group, o.name, c); err != nil {
				return err
			}
			return t.done(o.String(), "The credentials of repository %s are changed.", o)
		}),
	}
	which.register(t, cmd)
	cmd.Flags().StringVar(&file, "credentials-file", "", credentialsUsage)
	return cmd
}
