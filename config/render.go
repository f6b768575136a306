package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"mooring.dev/mooring/pkg/errkind"
)

// Render is the effective configuration as TOML, with every default written
// out. Reading it back gives the same configuration. It holds no secrets,
// because a configuration has none.
func Render(c Config) string {
	var b bytes.Buffer
	for _, f := range c.Files {
		fmt.Fprintf(&b, "# read from %q\n", f)
	}
	e := toml.NewEncoder(&b)
	e.Indent = ""
	if err := e.Encode(c); err != nil {
		panic("config: a configuration that cannot be written: " + err.Error()) // only a field of a new type can do that
	}
	return b.String()
}

// DSN reads the connection string of a PostgreSQL catalog. The file must not
// be readable by everybody. Errors never contain what is in it.
func (c Catalog) DSN() (string, error) {
	st, err := os.Stat(c.DSNFile)
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "the catalog's connection string cannot be read")
	}
	if st.Mode().Perm()&0o007 != 0 {
		return "", errkind.New(errkind.Invalid, "%s can be read by every user (mode %04o): run chmod 0600 on it", c.DSNFile, st.Mode().Perm())
	}
	b, err := os.ReadFile(c.DSNFile)
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "the catalog's connection string cannot be read")
	}
	dsn := strings.TrimSpace(string(b))
	if dsn == "" {
		return "", errkind.New(errkind.Invalid, "%s is empty: write the connection string of the catalog's PostgreSQL into it", c.DSNFile)
	}
	return dsn, nil
}
