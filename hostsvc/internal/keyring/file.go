package keyring

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// Credential is the name under which the service manager hands over the
// master key: LoadCredential=mooring-master-key:/path.
const Credential = "mooring-master-key"

// header begins a file of master keys; the digit is the version.
const header = "mooring-master-key 1"

const (
	mode    = 0o600
	maxKeys = 100
	what    = "the master key"
)

const preamble = `# The master key of this mooringd: without it the keys of all repositories are
# lost, except those in recovery kits. Keep a copy on another machine, apart
# from copies of the catalog. One key per line, the first one is in use.
`

// Path is where the master key lies: what the configuration names, else the
// service manager's credential if there is one, else master.key in stateDir.
func Path(configured, stateDir string) string {
	if configured != "" {
		return configured
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, Credential)
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return filepath.Join(stateDir, "master.key")
}

// Open reads the master key at path. Absent: not-found; whether a new one may
// be made with Create depends on whether anything was sealed before, which
// the caller knows. Loose permissions, wrong lengths: invalid. Of a newer
// program: unsupported. A key in the service manager's folder is read only.
func Open(path string) (*Ring, error) {
	keys, err := read(path)
	if err != nil {
		return nil, err
	}
	r := &Ring{path: path, readOnly: secret.IsCredential(path)}
	r.keys.Store(&keys)
	return r, nil
}

// Create makes a master key at path, durably, and opens it. If there is a
// file already: exists, and the file is untouched, whoever else creates one
// at the same moment. A crash leaves the whole file or none.
func Create(path string) (*Ring, error) {
	if secret.IsCredential(path) {
		return nil, errkind.New(errkind.Unsupported, "a master key cannot be made at %s, which belongs to the service manager: make one elsewhere and name it with LoadCredential=%s:FILE", path, Credential)
	}
	if err := link(path, render([]key{randomKey()})); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, errkind.New(errkind.Exists, "a master key cannot be made at %s: there is a file already", path)
		}
		return nil, errkind.Wrap(errkind.Unavailable, err, "the master key cannot be written to %s: check the folder and its free space", path)
	}
	return Open(path)
}

// link writes a file that was not there before, whole or not at all.
func link(path, text string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".tmp-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	defer tmp.Close()
	if _, err := tmp.WriteString(text); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// Rotate makes a new current key and returns its id; the old keys still open
// what they sealed. When Rotate returns, the new key is on disk. A credential
// is read only: unsupported.
func (r *Ring) Rotate() (string, error) {
	k := randomKey()
	err := r.change(func(keys []key) ([]key, error) {
		if len(keys) >= maxKeys {
			return nil, errkind.New(errkind.Quota, "%s holds %d master keys already: seal the secrets again with the current one, and forget old keys", r.path, len(keys))
		}
		return append([]key{k}, keys...), nil
	})
	if err != nil {
		return "", err
	}
	return k.id, nil
}

// Forget removes an old key for good. The caller has made sure that nothing
// is sealed with it any more, copies of the catalog included: what is cannot
// be opened again. The current key is refused; an absent one is a success.
func (r *Ring) Forget(id string) error {
	return r.change(func(keys []key) ([]key, error) {
		if keys[0].id == id {
			return nil, errkind.New(errkind.InUse, "master key %s is the current one and cannot be forgotten: rotate first", id)
		}
		return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return k.id == id }), nil
	})
}

// Reload reads the file again, as when an administrator has put another one
// there. A file that lacks the current key is refused, and nothing changes.
func (r *Ring) Reload() error {
	r.file.Lock()
	defer r.file.Unlock()
	keys, err := r.again()
	if err != nil {
		return err
	}
	r.keys.Store(&keys)
	return nil
}

func (r *Ring) change(f func([]key) ([]key, error)) error {
	if r.readOnly {
		return errkind.New(errkind.Unsupported, "the master key comes from the service manager and cannot be changed here: change the file that LoadCredential names, new key first, and restart mooringd")
	}
	r.file.Lock()
	defer r.file.Unlock()
	keys, err := r.again()
	if err != nil {
		return err
	}
	next, err := f(keys)
	if err != nil {
		return err
	}
	if !slices.Equal(ids(next), ids(keys)) {
		if err := durable.WriteFile(r.path, []byte(render(next)), mode); err != nil {
			return errkind.Wrap(errkind.Unavailable, err, "the master key cannot be written to %s: check the folder and its free space", r.path)
		}
	}
	r.keys.Store(&next)
	return nil
}

// again is what the file says now. It must still be ours: somebody may have
// exchanged it.
func (r *Ring) again() ([]key, error) {
	keys, err := read(r.path)
	if err != nil {
		return nil, err
	}
	if current := r.Current(); !slices.Contains(ids(keys), current) {
		return nil, errkind.New(errkind.Corrupt, "%s was exchanged and lacks master key %s, which mooringd uses: put that key back as a line of the file", r.path, current)
	}
	return keys, nil
}

func ids(keys []key) (out []string) {
	for _, k := range keys {
		out = append(out, k.id)
	}
	return out
}

func render(keys []key) string {
	var b strings.Builder
	b.WriteString(header + "\n" + preamble)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %s\n", k.id, base64.StdEncoding.EncodeToString([]byte(k.raw.Reveal())))
	}
	return b.String()
}

func read(path string) ([]key, error) {
	text, err := secret.ReadFile(path, what)
	if errkind.Is(err, errkind.NotFound) {
		return nil, errkind.New(errkind.NotFound, "there is no master key at %s: put the copy of it back there; without it no repository of this catalog opens, except with its recovery kit", path)
	}
	if err != nil {
		return nil, err
	}
	return parse(path, text.Reveal())
}

// parse reads the file's text. Errors name the line, never what is in it.
func parse(path, text string) ([]key, error) {
	var keys []key
	started := false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		wrong := func(format string, args ...any) error {
			return errkind.New(errkind.Invalid, "the master key at %s cannot be used: line %d %s: put the copy of the file back", path, i+1, fmt.Sprintf(format, args...))
		}
		if !started {
			if version, ok := strings.CutPrefix(line, "mooring-master-key "); ok && line != header {
				return nil, errkind.New(errkind.Unsupported, "the master key at %s has form %q, this mooringd knows 1: install the version that wrote it", path, clip(version))
			}
			if line != header {
				return nil, wrong("is not %q, as the first one must be", header)
			}
			started = true
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, encoded, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
		switch {
		case err != nil || !isID(id):
			return nil, wrong("is not a key's id and the key in base64")
		case len(raw) != keySize:
			return nil, wrong("holds a key of %d bytes, it has %d", len(raw), keySize)
		}
		k := newKey(raw)
		switch {
		case k.id != id:
			return nil, wrong("holds a key that does not match its id %s", id)
		case slices.Contains(ids(keys), id):
			return nil, wrong("repeats key %s", id)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errkind.New(errkind.Invalid, "the master key at %s cannot be used: it holds no key: put the copy of the file back", path)
	}
	return keys, nil
}
