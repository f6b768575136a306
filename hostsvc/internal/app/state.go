package app

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
)

// state is the hold on a state directory.
type state struct {
	installation string
	close        func()
}

// openState makes the directories, takes the state directory for this process
// alone and reads which installation it is.
func openState(cfg config.Config) (state, error) {
	for dir, mode := range map[string]fs.FileMode{cfg.StateDir: 0o700, cfg.RunDir: 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return state{}, errkind.Wrap(errkind.Unavailable, err, "cannot make the directory %s", dir)
		}
	}
	release, err := catalog.LockState(cfg.StateDir)
	if errkind.Is(err, errkind.InUse) {
		return state{}, lockedError{err}
	}
	if err != nil {
		return state{}, err
	}
	id, err := installation(cfg.StateDir)
	if err != nil {
		release()
		return state{}, err
	}
	return state{installation: id, close: release}, nil
}

// installation is the identity of a state directory, made at the first start.
func installation(dir string) (string, error) {
	path := filepath.Join(dir, "installation")
	b, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if _, err := uuid.Parse(id); err != nil {
			return "", errkind.New(errkind.Corrupt, "%s does not hold the installation's UUID: restore it from a copy of the state directory, or remove it when no other mooringd shares the catalog", path)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", errkind.Wrap(errkind.Unavailable, err, "cannot read the state directory")
	}
	id := uuid.NewString()
	if err := durable.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "cannot write to the state directory %s", dir)
	}
	return id, nil
}

// adminGroup is the number of the group that may administer the service, -1
// when it is root alone.
func adminGroup(cfg config.Config) (int, error) {
	if cfg.Admin.Group == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(cfg.Admin.Group)
	if err != nil {
		if _, unknown := errors.AsType[user.UnknownGroupError](err); !unknown {
			return 0, errkind.Wrap(errkind.Unavailable, err, "cannot look up group %q (admin.group)", cfg.Admin.Group)
		}
		return 0, errkind.New(errkind.Invalid, "group %q (admin.group) does not exist: run groupadd --system %s, or set group = \"\" in [admin] to let in root only", cfg.Admin.Group, cfg.Admin.Group)
	}
	gid, err := strconv.Atoi(g.Gid)
	return gid, errkind.Wrap(errkind.Internal, err, "group %q has no number", cfg.Admin.Group)
}
