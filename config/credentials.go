package config

import (
	"github.com/BurntSushi/toml"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// RepositoryCredentials are what a repository's credentials file holds.
type RepositoryCredentials struct {
	AccessKey, SecretKey, SessionToken secret.Text // s3
	PrivateKey, Password               secret.Text // sftp
}

// Credentials reads the file with the secrets of a repository's place: TOML
// with access_key, secret_key and perhaps session_token for s3, private_key or
// password for sftp. Others than its owner must not be able to read it.
// Without a file: none. Errors never contain what is in it.
func (r Repository) Credentials() (RepositoryCredentials, error) {
	var out RepositoryCredentials
	if r.CredentialsFile == "" {
		return out, nil
	}
	text, err := secret.ReadFile(r.CredentialsFile, "the credentials of repository "+r.Name)
	if err != nil {
		return out, err
	}
	// TOML errors quote the document, so they stay here.
	wrong := func(why string) error {
		return errkind.New(errkind.Invalid, "the credentials of repository %s cannot be used: %s %s", r.Name, r.CredentialsFile, why)
	}
	var m map[string]any
	if _, err := toml.Decode(text.Reveal(), &m); err != nil {
		return out, wrong(`is not TOML: write lines such as access_key = "…"`)
	}
	fields := map[string]*secret.Text{"access_key": &out.AccessKey, "secret_key": &out.SecretKey, "session_token": &out.SessionToken}
	want := "access_key and secret_key"
	if r.Type == SFTPRepository {
		fields = map[string]*secret.Text{"private_key": &out.PrivateKey, "password": &out.Password}
		want = "private_key or password"
	}
	for key, value := range m {
		f, known := fields[key]
		s, isString := value.(string)
		if !known || !isString || s == "" {
			return RepositoryCredentials{}, wrong("holds something else than strings for " + want)
		}
		*f = secret.New(s)
	}
	if r.Type == SFTPRepository && out.PrivateKey.IsZero() && out.Password.IsZero() ||
		r.Type == S3Repository && (out.AccessKey.IsZero() || out.SecretKey.IsZero()) {
		return RepositoryCredentials{}, wrong("lacks " + want)
	}
	return out, nil
}
