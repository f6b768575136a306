package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// placeFlags say where a repository lies and what opens the place.
type placeFlags struct {
	location    wire.Location
	credentials string // file
}

func (p *placeFlags) register(cmd *cobra.Command) {
	f, l := cmd.Flags(), &p.location
	f.StringVar(&l.Type, "type", "", "`type` of place: directory, s3 or sftp")
	f.StringVar(&l.Path, "path", "", "`folder`: of a directory, absolute, on the machine of the host service; of sftp on the server")
	f.StringVar(&l.Endpoint, "endpoint", "", "s3: `host[:port]` of the service")
	f.StringVar(&l.Bucket, "bucket", "", "s3: `bucket`, which must exist")
	f.StringVar(&l.Prefix, "prefix", "", "s3: `prefix` of all objects")
	f.StringVar(&l.Region, "region", "", "s3: `region`")
	f.BoolVar(&l.Insecure, "insecure", false, "s3: speak HTTP without TLS")
	f.StringVar(&l.CAFile, "ca-file", "", "s3: `file` on the machine of the host service with the certificates to trust")
	f.StringVar(&l.Host, "host", "", "sftp: `host` name or address of the server")
	f.IntVar(&l.Port, "port", 0, "sftp: `port` (default 22)")
	f.StringVar(&l.User, "user", "", "sftp: `user` to log in as")
	f.StringVar(&l.HostKey, "host-key", "", "sftp: the server's public `key`, as in \"ssh-ed25519 AAAA...\"; no connection is made without it")
	f.StringVar(&p.credentials, "credentials-file", "", credentialsUsage)
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"directory", "s3", "sftp"}, cobra.ShellCompDirectiveNoFileComp))
}

const credentialsUsage = "`file` with lines key = value: access_key, secret_key and session_token for s3; password or private_key_file for sftp"

// ofType are the flags that mean something for a type of place.
var ofType = map[string][]string{
	"directory": {"path"},
	"s3":        {"endpoint", "bucket", "prefix", "region", "insecure", "ca-file", "credentials-file"},
	"sftp":      {"host", "port", "user", "path", "host-key", "credentials-file"},
}

// needed are those that must be given.
var needed = map[string][]string{"directory": {"path"}, "s3": {"endpoint", "bucket"}, "sftp": {"host", "user", "path", "host-key"}}

// request reads the flags. What they lack the service would refuse too, but
// it knows no flags.
func (p *placeFlags) request(cmd *cobra.Command, name string) (wire.CreateRepository, error) {
	r := wire.CreateRepository{Name: name, Location: p.location}
	allowed, known := ofType[p.location.Type]
	if p.location.Type == "" {
		return r, usagef(cmd, "the type of the place is not given: add --type=directory, --type=s3 or --type=sftp")
	}
	if !known {
		return r, usagef(cmd, "the type %q of the place is not known: use --type=directory, --type=s3 or --type=sftp", clean(p.location.Type, false))
	}
	valid := map[string]bool{}
	for _, f := range allowed {
		valid[f] = true
	}
	for _, flags := range ofType {
		for _, f := range flags {
			if cmd.Flags().Changed(f) && !valid[f] {
				return r, usagef(cmd, "--%s means nothing for --type=%s: leave it out", f, p.location.Type)
			}
		}
	}
	for _, f := range needed[p.location.Type] {
		if !cmd.Flags().Changed(f) {
			return r, usagef(cmd, "--type=%s needs --%s", p.location.Type, f)
		}
	}
	if p.credentials == "" {
		return r, nil
	}
	var err error
	r.Credentials, err = readCredentials(p.credentials)
	return r, err
}

// readCredentials reads a file of key = value lines. Errors name keys and line
// numbers, never a value.
func readCredentials(path string) (c wire.Credentials, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return c, errkind.Wrap(errkind.Invalid, err, "the credentials file cannot be read")
	}
	into := map[string]*string{
		"access_key": &c.AccessKey, "secret_key": &c.SecretKey, "session_token": &c.SessionToken,
		"password": &c.Password, "private_key_file": &c.PrivateKey,
	}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		target := into[strings.TrimSpace(key)]
		switch {
		case !found || target == nil:
			return c, errkind.New(errkind.Invalid, "line %d of the credentials file %s is not key = value with a key of access_key, secret_key, session_token, password or private_key_file", i+1, path)
		case *target != "":
			return c, errkind.New(errkind.Invalid, "the credentials file %s has %s twice, again in line %d", path, strings.TrimSpace(key), i+1)
		}
		*target = unquote(strings.TrimSpace(value))
	}
	if c.PrivateKey != "" {
		key, err := os.ReadFile(c.PrivateKey)
		if err != nil {
			return wire.Credentials{}, errkind.Wrap(errkind.Invalid, err, "the private key that the credentials file %s names cannot be read", path)
		}
		c.PrivateKey = string(key)
	}
	return c, nil
}

// unquote takes a pair of quotes away.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// readSecret reads a file that holds a secret as its whole content.
func readSecret(path, what string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), errkind.Wrap(errkind.Invalid, err, "%s cannot be read", what)
}
