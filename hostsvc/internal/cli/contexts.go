package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/secret"
)

// localContext is the name of the admin socket among the contexts.
const localContext = "local"

// stored is a service over HTTPS and the token that this user has there.
type stored struct {
	Name    string    `json:"name"`
	Server  string    `json:"server"`
	Tenant  string    `json:"tenant,omitempty"` // "": a user of the master
	User    string    `json:"user"`
	Token   string    `json:"token"`
	TokenID string    `json:"token_id,omitempty"` // "": the token was given, and is not ours to end
	Expires time.Time `json:"expires,omitzero"`
	CA      string    `json:"ca,omitempty"`
	Pin     string    `json:"pin,omitempty"`
}

func (s stored) trust() hostclient.Trust { return hostclient.Trust{CA: s.CA, Pin: s.Pin} }

// contexts are all that this user has, kept in a file that only it can read.
type contexts struct {
	Current string   `json:"current,omitempty"` // "": the admin socket
	All     []stored `json:"contexts"`
}

func (c *contexts) get(name string) (stored, bool) {
	i := slices.IndexFunc(c.All, func(s stored) bool { return s.Name == name })
	if i < 0 {
		return stored{}, false
	}
	return c.All[i], true
}

func noContext(name string) error {
	return errkind.New(errkind.NotFound, "there is no context %q: `mooring context ls` lists them, `mooring login` makes one", name)
}

func (c *contexts) put(s stored) {
	c.remove(s.Name)
	c.All = append(c.All, s)
	slices.SortFunc(c.All, func(a, b stored) int { return strings.Compare(a.Name, b.Name) })
}

func (c *contexts) remove(name string) {
	c.All = slices.DeleteFunc(c.All, func(s stored) bool { return s.Name == name })
	if c.Current == name {
		c.Current = ""
	}
}

// contextsFile is where the contexts of this user lie, "" if it has no home.
func (t *tool) contextsFile() string {
	dir := t.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := t.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "mooring", "contexts.json")
}

const contextsWhat = "the file with the contexts"

func (t *tool) contexts() (c contexts, err error) {
	path := t.contextsFile()
	if path == "" {
		return c, nil
	}
	text, err := secret.ReadFile(path, contextsWhat)
	if errkind.Is(err, errkind.NotFound) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal([]byte(text.Reveal()), &c); err != nil {
		return c, errkind.Wrap(errkind.Corrupt, err, "%s is damaged: remove %s and log in again", contextsWhat, path)
	}
	return c, nil
}

func (t *tool) keep(c contexts) error {
	path := t.contextsFile()
	if path == "" {
		return errkind.New(errkind.Unsupported, "there is no folder for contexts: set HOME or XDG_CONFIG_HOME, or give --server and a token in MOORING_TOKEN")
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "contexts")
	}
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = durable.WriteFile(path, append(text, '\n'), 0o600)
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s cannot be written", contextsWhat)
}
