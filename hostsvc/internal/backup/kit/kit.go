// Package kit writes and reads recovery kits: texts that, together with a
// repository and nothing else, bring its recovery points back, in an empty
// installation of Mooring or with the standard kopia program.
//
// A kit is a letter to the person who needs it, with a block of data that a
// program reads. The block may be typed from paper: its last line is a
// checksum over the others, so that a typing error is noticed.
//
//	-----BEGIN MOORING RECOVERY KIT-----
//	version: 1
//	name: value
//	…
//	checksum: 0123-4567-89ab-cdef
//	-----END MOORING RECOVERY KIT-----
//
// A value of several lines repeats its name. A value that white space or
// special characters would spoil is written as a quoted Go string. Names may
// be added within a version; readers pass over those they do not know.
package kit

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	version = "1"
	begin   = "-----BEGIN MOORING RECOVERY KIT-----"
	end     = "-----END MOORING RECOVERY KIT-----"
	maxKit  = 1 << 20
)

// Kit is what opens one repository. It is a secret: it does not show its key
// or credentials when printed, in JSON or in logs. Render shows them.
type Kit struct {
	Repository volspec.RepositoryID
	Name       string // of the repository
	Tenant     string // name of the vmgroup
	Unique     string // of the repository's format; may be missing
	Created    time.Time
	Location   repository.Location
	Key        string // password of the repository
	// Credentials open the location. A kit may go without them.
	Credentials repository.Credentials
}

// Format hides the kit's secrets from every verb of fmt.
func (k Kit) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// String hides the kit's secrets.
func (k Kit) String() string { return fmt.Sprintf("[recovery kit of repository %s]", k.Repository) }

// MarshalJSON hides the kit's secrets.
func (k Kit) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(k.String())), nil }

// field is one value of the block, by the place where it belongs.
type field struct {
	name string
	text *string
}

// fields are all values in the order in which they are written. Version and
// checksum frame them.
func (k *Kit) fields(created, insecure, port *string) []field {
	l, c := &k.Location, &k.Credentials
	return []field{
		{"created", created},
		{"repository", (*string)(&k.Repository)},
		{"name", &k.Name},
		{"vmgroup", &k.Tenant},
		{"unique_id", &k.Unique},
		{"type", &l.Type},
		{"endpoint", &l.Endpoint},
		{"region", &l.Region},
		{"bucket", &l.Bucket},
		{"prefix", &l.Prefix},
		{"insecure", insecure},
		{"ca_file", &l.CAFile},
		{"host", &l.Host},
		{"port", port},
		{"user", &l.User},
		{"path", &l.Path},
		{"host_key", &l.HostKey},
		{"key", &k.Key},
		{"access_key", &c.AccessKey},
		{"secret_key", &c.SecretKey},
		{"session_token", &c.SessionToken},
		{"password", &c.Password},
		{"private_key", &c.PrivateKey},
	}
}

// Parse reads the block of a kit; text around it does not matter. What is not
// a kit, is incomplete or has a typing error: invalid, with the line. Made by
// a newer program: unsupported. Errors never hold what is in it.
func Parse(text string) (Kit, error) {
	if len(text) > maxKit {
		return Kit{}, errkind.New(errkind.Invalid, "the recovery kit is larger than 1 MiB: check that it is the right file")
	}
	values, err := parseBlock(text)
	if err != nil {
		return Kit{}, err
	}
	var k Kit
	var created, insecure, port string
	for _, f := range k.fields(&created, &insecure, &port) {
		*f.text = values[f.name]
	}
	wrong := func(name string) (Kit, error) {
		return Kit{}, errkind.New(errkind.Invalid, "the recovery kit has no usable %q: take another copy of it", name)
	}
	if k.Created, err = time.Parse(time.RFC3339, created); err != nil {
		return wrong("created")
	}
	if port != "" {
		if k.Location.Port, err = strconv.Atoi(port); err != nil || k.Location.Port < 1 || k.Location.Port > 65535 {
			return wrong("port")
		}
	}
	switch insecure {
	case "", "no":
	case "yes":
		k.Location.Insecure = true
	default:
		return wrong("insecure")
	}
	switch k.Location.Type {
	case repository.Directory, repository.S3, repository.SFTP:
	default:
		return wrong("type")
	}
	if k.Repository == "" {
		return wrong("repository")
	}
	if k.Key == "" {
		return wrong("key")
	}
	return k, nil
}

// Render writes a kit for a person to keep. What it returns is a secret.
func Render(k Kit) string { return letter(k) + block(k) + instructions(k) }

// block is the part of a kit that Parse reads.
func block(k Kit) string {
	created, insecure, port := k.Created.UTC().Format(time.RFC3339), "", ""
	if k.Location.Insecure {
		insecure = "yes"
	}
	if k.Location.Port != 0 {
		port = strconv.Itoa(k.Location.Port)
	}
	return renderBlock(k.fields(&created, &insecure, &port))
}

func letter(k Kit) string {
	without := ""
	if k.Credentials == (repository.Credentials{}) && k.Location.Type != repository.Directory {
		without = "\nIt does not hold the credentials of the place: keep those, too.\n"
	}
	return fmt.Sprintf(`RECOVERY KIT of repository %s of vmgroup %s
made %s

With this text and the repository, everything in the repository can be
restored, also when the Mooring that wrote it is lost. Whoever has it can read
all of that. Keep it on paper or on another machine, not beside the repository.
%s
`, line(cmp.Or(k.Name, string(k.Repository))), line(k.Tenant), k.Created.UTC().Format("2006-01-02 15:04 UTC"), without)
}
