package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
	"mooring.dev/mooring/pkg/errkind"
)

var (
	_ api.SelfBackup     = (*selfbackup.Service)(nil)
	_ selfbackup.Keyring = (*keyring.Ring)(nil)
	_ selfbackup.Alarm   = selfAlarm{}
)

// Names of files in a copy.
const (
	savedKey    = "master.key"
	savedConfig = "mooring.toml"
	savedDropIn = "mooring.toml.d/" // + name
)

// savedState are the files of the state directory that cannot be made again:
// who this service is, and the authorities that others trust.
var savedState = []string{"installation", "https-ca.key", "guest-ca.key"}

// selfAlarm is the backup service as copies of the catalog need it.
type selfAlarm struct{ *backup.Service }

func (a selfAlarm) Raise(ctx context.Context, sentence string) error {
	return a.SelfBackupFailed(ctx, sentence)
}

func (a selfAlarm) Clear(ctx context.Context, sentence string) error {
	return a.SelfBackupDone(ctx, sentence)
}

// buildSelfBackup makes what copies the catalog. The backup service is there.
func (d *daemon) buildSelfBackup(cfg config.Config) (*selfbackup.Service, error) {
	s := cfg.Backup.Self
	place, err := placeOf(s.Repository())
	if err != nil {
		return nil, err
	}
	return selfbackup.New(selfbackup.Options{
		Store: d.catalog.SelfBackup(), Catalog: d.catalog, Keyring: d.ring, Opener: d.backups.opener, Alarm: selfAlarm{d.backups.service},
		Place: place, Address: s.Address(), Every: time.Duration(s.Every), Keep: s.Keep,
		Files:   func() ([]selfbackup.File, error) { return savedFiles(cfg, d.ring) },
		Scratch: filepath.Join(cfg.Backup.ScratchDir, "catalog"), Build: d.version,
	}), nil
}

// placeOf is the place of a repository that the configuration names.
func placeOf(r config.Repository) (repository.Place, error) {
	cred, err := r.Credentials()
	return repository.Place{Location: locationOf(r), Credentials: credentialsOf(cred)}, err
}

func locationOf(r config.Repository) repository.Location {
	return repository.Location{
		Type: r.Type, Path: r.Path, Endpoint: r.Endpoint, Region: r.Region, Bucket: r.Bucket, Prefix: r.Prefix,
		Insecure: r.Insecure, CAFile: r.CAFile, Host: r.Host, Port: r.Port, User: r.User, HostKey: r.HostKey,
	}
}

func credentialsOf(c config.RepositoryCredentials) repository.Credentials {
	return repository.Credentials{
		AccessKey: c.AccessKey.Reveal(), SecretKey: c.SecretKey.Reveal(), SessionToken: c.SessionToken.Reveal(),
		PrivateKey: c.PrivateKey.Reveal(), Password: c.Password.Reveal(),
	}
}

// savedFiles reads what the service needs beside its catalog.
func savedFiles(cfg config.Config, ring *keyring.Ring) (all []selfbackup.File, err error) {
	add := func(name, path string, needed bool) {
		text, e := os.ReadFile(path)
		switch {
		case errors.Is(e, fs.ErrNotExist) && !needed:
		case e != nil:
			err = errors.Join(err, errkind.Wrap(errkind.Unavailable, e, "a file that the service needs cannot be copied"))
		default:
			all = append(all, selfbackup.File{Name: name, Text: text})
		}
	}
	add(savedKey, ring.Path(), true)
	for _, name := range savedState {
		add(name, filepath.Join(cfg.StateDir, name), false) // without [https] or [guest] there is no authority
	}
	for i, path := range cfg.Files {
		name := savedConfig
		if i > 0 {
			name = savedDropIn + filepath.Base(path)
		}
		add(name, path, i == 0)
	}
	return all, err
}
