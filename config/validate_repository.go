package config

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9A-Z][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]$`)
	hostName   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?\.?$`)
)

// repositoryKeys are the keys of each type beside name and type, the needed
// ones first; the number says how many those are.
var repositoryKeys = map[string]struct {
	needed int
	keys   []string
}{
	DirectoryRepository: {1, []string{"path"}},
	S3Repository:        {3, []string{"endpoint", "bucket", "credentials_file", "region", "prefix", "insecure", "ca_file"}},
	SFTPRepository:      {5, []string{"host", "user", "path", "host_key", "credentials_file", "port"}},
}

func (r Repository) check(p *Problems, at string) {
	p.oneOf(at+".type", r.Type, DirectoryRepository, S3Repository, SFTPRepository)
	of, known := repositoryKeys[r.Type]
	if !known {
		return
	}
	values := []struct{ key, value string }{
		{"path", r.Path}, {"endpoint", r.Endpoint}, {"region", r.Region}, {"bucket", r.Bucket}, {"prefix", r.Prefix},
		{"insecure", set(r.Insecure)}, {"ca_file", r.CAFile}, {"host", r.Host}, {"port", set(r.Port != 0)}, {"user", r.User},
		{"host_key", r.HostKey}, {"credentials_file", r.CredentialsFile},
	}
	for _, v := range values {
		i := slices.Index(of.keys, v.key)
		switch {
		case i < 0 && v.value != "":
			p.add(at+"."+v.key, "a repository of type %s has no such key: remove it, or correct the type", r.Type)
		case i >= 0 && i < of.needed && v.value == "":
			p.add(at+"."+v.key, "it is missing: a repository of type %s needs %s", r.Type, strings.Join(of.keys[:of.needed], ", "))
		case i >= 0 && v.value != "":
			r.checkKey(p, at, v.key)
		}
	}
}

func set(b bool) string {
	if b {
		return "set"
	}
	return ""
}

// checkKey checks one key that is set and belongs to the type.
func (r Repository) checkKey(p *Problems, at, key string) {
	at += "." + key
	switch key {
	case "path":
		p.absolute(at, r.Path)
	case "ca_file":
		p.absolute(at, r.CAFile)
		if r.Insecure {
			p.add(at, "insecure speaks plain HTTP, which has no certificate: remove one of the two")
		}
	case "credentials_file":
		p.absolute(at, r.CredentialsFile)
	case "endpoint":
		if !isEndpoint(r.Endpoint) {
			p.add(at, "%q is not an endpoint: write host or host:port, without https:// and path", clip(r.Endpoint))
		}
	case "bucket":
		if !bucketName.MatchString(r.Bucket) {
			p.add(at, "%q is not a bucket's name", clip(r.Bucket))
		}
	case "region", "user":
		value := map[string]string{"region": r.Region, "user": r.User}[key]
		if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }) || strings.HasPrefix(value, "-") {
			p.add(at, "%q is not a %s: blanks and special characters are not allowed", clip(value), key)
		}
	case "prefix":
		if strings.HasPrefix(r.Prefix, "/") || strings.ContainsFunc(r.Prefix, func(c rune) bool { return c < ' ' }) {
			p.add(at, "%q is not a prefix: write folders such as tenant1/, without a slash in front", clip(r.Prefix))
		}
	case "host":
		if !hostName.MatchString(r.Host) && net.ParseIP(r.Host) == nil {
			p.add(at, "%q is not a host: write a name or an address, without user and port", clip(r.Host))
		}
	case "port":
		p.number(at, r.Port, 1, 65535)
	case "host_key":
		if !isHostKey(r.HostKey) {
			p.add(at, `it is not a host key: write type and key as in known_hosts, "ssh-ed25519 AAAA…", from ssh-keyscan, compared with the server's own`)
		}
	}
}

func isEndpoint(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return hostName.MatchString(s) || net.ParseIP(s) != nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && (hostName.MatchString(host) || net.ParseIP(host) != nil)
}

// isHostKey reports whether s is a public key as SSH writes it: a type, and in
// base64 a blob that begins with the same type.
func isHostKey(s string) bool {
	kind, rest, _ := strings.Cut(s, " ")
	encoded, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(blob) < 4 || strings.ContainsAny(s, "\r\n") {
		return false
	}
	n := int(binary.BigEndian.Uint32(blob))
	return n == len(kind) && len(blob) > 4+n && string(blob[4:4+n]) == kind
}

// checkPlace sees that no two repositories share a place, and that none lies
// where the volumes lie that it is to save.
func (c *Config) checkPlace(p *Problems, at string, r Repository, places map[string]string) {
	place := r.place()
	if place == "" {
		return
	}
	if other, dup := places[place]; dup {
		p.add(at, "its place is already that of %s: each repository needs its own", other)
	}
	places[place] = at
	if r.Type != DirectoryRepository {
		return
	}
	for i, d := range c.Datastores {
		if overlap(r.Path, d.Path) {
			p.add(at+".path", "%s overlaps with %s of datastore[%d]: what destroys the volumes must not destroy their backups", r.Path, d.Path, i)
		}
	}
	for other, owner := range places {
		if folder, ok := strings.CutPrefix(other, DirectoryRepository+" "); ok && other != place && overlap(r.Path, folder) {
			p.add(at+".path", "%s overlaps with %s of %s: repositories must not lie in each other", r.Path, folder, owner)
		}
	}
}

// place is an address that two spellings of the same place share, "" when it
// is not complete.
func (r Repository) place() string {
	switch {
	case r.Type == DirectoryRepository && path.IsAbs(r.Path):
		return DirectoryRepository + " " + path.Clean(r.Path)
	case r.Type == S3Repository && r.Endpoint != "" && r.Bucket != "":
		return fmt.Sprintf("%s %s/%s/%s", S3Repository, strings.ToLower(r.Endpoint), r.Bucket, strings.TrimSuffix(r.Prefix, "/"))
	case r.Type == SFTPRepository && r.Host != "" && path.IsAbs(r.Path):
		return fmt.Sprintf("%s %s:%d%s", SFTPRepository, strings.ToLower(r.Host), r.Port, path.Clean(r.Path))
	}
	return ""
}
