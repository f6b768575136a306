package config

import "regexp"

// BuiltIn is the name of the service's own transporter.
const BuiltIn = "built-in"

// Transporter is what this mooringd is called among those that move the data of
// backups; the others share its catalog.
type Transporter struct {
	Name        string `toml:"name"`
	Description string `toml:"description,omitempty"`
}

var transporterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// maxDescription is how long a transporter's description may be.
const maxDescription = 256

func (c *Config) checkTransporter(p *Problems) {
	t := c.Transporter
	switch {
	case !transporterName.MatchString(t.Name):
		p.add("transporter.name", "%q is not a name of a transporter: write up to 63 lower-case letters, digits, dots and hyphens, such as site-b", clip(t.Name))
	case t.Name != BuiltIn && c.Catalog.Driver == SQLite:
		p.add("transporter.name", "a transporter of its own needs a catalog that others share: set catalog.driver to postgres, or remove this")
	}
	if len([]rune(t.Description)) > maxDescription {
		p.add("transporter.description", "it is longer than %d characters: shorten it", maxDescription)
	}
}
