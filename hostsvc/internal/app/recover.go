package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// RecoverOptions say what mooringd recover makes the service of.
type RecoverOptions struct {
	Config string // path of the configuration; made if there is none
	Kit    string // text
	// Path, unless empty, is where the repository lies now that the kit looks for
	// in another folder; Credentials is the file with those of its place, if the
	// ones in the kit are not valid any more.
	Path, Credentials string
	Copy              volspec.PointID // "": the newest
	Out               io.Writer
}

// Recover makes an empty state directory and an empty catalog those of a service
// that was lost. The copy is examined whole first. The catalog comes last, in one
// transaction: where there is one already, it is exists, and until there is one
// the same call again goes on.
func Recover(ctx context.Context, o RecoverOptions) error {
	k, err := kit.Parse(o.Kit)
	if err != nil {
		return err
	}
	place, err := recoveryPlace(k, o)
	if err != nil {
		return err
	}
	// Not in the state directory: where that is can be known from the copy only.
	dir, err := os.MkdirTemp("", "mooring-recover-")
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog has no place: make room, or name another folder with TMPDIR")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f, err := os.Create(filepath.Join(dir, "copy"))
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog has no place in %s", dir)
	}
	defer f.Close()
	c, err := selfbackup.Fetch(ctx, kopia.New(kopia.Options{Dir: filepath.Join(dir, "repository"), Owner: "recover"}), place, k.Key, k.Repository, o.Copy, f)
	if err != nil {
		return err
	}
	crashpoint.Here("app.recover.fetched")
	kept, err := recoverConfig(o.Config, c)
	if err != nil {
		return err
	}
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if err := recoverState(ctx, cfg, c, kept); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "Recovered the state of %s, made by mooringd %s.\n", c.Made.Format("2006-01-02 15:04 UTC"), c.Build)
	if kept {
		fmt.Fprintf(o.Out, "The configuration %s was there and stays as it is; that of the copy is in %s.\n", o.Config, filepath.Join(cfg.StateDir, recoveredDir))
	}
	fmt.Fprintln(o.Out, "Start mooringd. The machine that was lost must not come back.")
	return nil
}

func recoveryPlace(k kit.Kit, o RecoverOptions) (repository.Place, error) {
	p := repository.Place{Location: k.Location, Credentials: k.Credentials}
	if o.Path != "" {
		if p.Location.Type == repository.S3 {
			return p, errkind.New(errkind.Invalid, "--path is for a repository in a folder: this one is in bucket %s", p.Location.Bucket)
		}
		p.Location.Path = o.Path
	}
	if o.Credentials == "" {
		return p, nil
	}
	cred, err := config.Repository{Name: "self-backup", Type: p.Location.Type, CredentialsFile: o.Credentials}.Credentials()
	p.Credentials = credentialsOf(cred)
	return p, err
}

// recoveredDir is where in the state directory the configuration of the copy
// goes if the machine has one.
const recoveredDir = "recovered"

// recoverConfig makes the configuration, unless there is another one, which is
// kept.
func recoverConfig(path string, c selfbackup.Copy) (kept bool, err error) {
	old, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) && !bytes.Equal(old, mainConfig(c)) {
		return true, nil // config.Load says if it cannot be read
	}
	return false, writeConfig(path, c)
}

func mainConfig(c selfbackup.Copy) []byte {
	for _, f := range c.Files {
		if f.Name == savedConfig {
			return f.Text
		}
	}
	return nil
}

// writeConfig writes the main file last: without it nothing counts.
func writeConfig(path string, c selfbackup.Copy) error {
	for _, f := range c.Files {
		name, dropIn := strings.CutPrefix(f.Name, savedDropIn)
		if !dropIn || name != filepath.Base(name) {
			continue
		}
		if err := writeNew(filepath.Join(path+".d", name), f.Text, 0o644); err != nil {
			return err
		}
	}
	crashpoint.Here("app.recover.dropins")
	return writeNew(path, mainConfig(c), 0o644)
}

// recoverState fills the state directory and then the catalog. With beside the
// configuration of the copy goes there, too.
func recoverState(ctx context.Context, cfg config.Config, c selfbackup.Copy, beside bool) error {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "cannot make the directory %s", cfg.StateDir)
	}
	release, err := catalog.LockState(cfg.StateDir)
	if errkind.Is(err, errkind.InUse) {
		return lockedError{err}
	}
	if err != nil {
		return err
	}
	defer release()
	options, err := catalogOptions(cfg.Catalog)
	if err != nil {
		return err
	}
	if err := catalog.Vacant(ctx, options); err != nil {
		return err
	}
	if beside {
		if err := writeConfig(filepath.Join(cfg.StateDir, recoveredDir, savedConfig), c); err != nil {
			return err
		}
	}
	for _, f := range c.Files {
		path := ""
		switch {
		case f.Name == savedKey:
			path = keyring.Path(cfg.Backup.MasterKeyFile, cfg.StateDir)
		case f.Name == savedConfig, strings.HasPrefix(f.Name, savedDropIn):
			continue
		default:
			if !slices.Contains(savedState, f.Name) {
				return errkind.New(errkind.Unsupported, "the copy holds a file %q that this build does not know: install the version that made it, %s", f.Name, cmp.Or(c.Build, "a newer one"))
			}
			path = filepath.Join(cfg.StateDir, f.Name)
		}
		if err := writeNew(path, f.Text, 0o600); err != nil {
			return err
		}
		crashpoint.Here("app.recover." + f.Name)
	}
	if err := catalog.Restore(ctx, options, c.Catalog()); err != nil {
		return err
	}
	crashpoint.Here("app.recover.catalog")
	return nil
}

// writeNew makes a file. One that is there with the same content is what an
// earlier attempt made; another one is exists.
func writeNew(path string, text []byte, mode os.FileMode) error {
	old, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(old, text):
		return nil
	case err == nil:
		return errkind.New(errkind.Exists, "%s is there already and is another one than in the copy: nothing was changed there; move it away if it is not needed", path)
	case !errors.Is(err, fs.ErrNotExist):
		return errkind.Wrap(errkind.Unavailable, err, "%s cannot be compared with the copy", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "cannot make the directory of %s", path)
	}
	return errkind.Wrap(errkind.Unavailable, durable.WriteFile(path, text, mode), "%s cannot be written: check the folder and its free space", path)
}
