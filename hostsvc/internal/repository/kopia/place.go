package kopia

import (
	"context"
	"net"
	"os"
	"reflect"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/s3"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// storage opens the bare storage of a place. Only create may make a folder.
func storage(ctx context.Context, p repository.Place, guard netguard.Guard, create bool) (blob.Storage, error) {
	switch p.Location.Type {
	case repository.Directory:
		if create {
			if err := os.MkdirAll(p.Location.Path, 0o700); err != nil {
				return nil, err
			}
		}
		return newDirectory(p.Location.Path)
	case repository.SFTP:
		dialer := &net.Dialer{Timeout: sshTimeout}
		if p.Outside {
			dialer = guard.Dialer(sshTimeout)
		}
		return newSFTP(ctx, p, dialer, create)
	case repository.S3:
		if !p.Outside {
			return newS3(ctx, p)
		}
		o := outside{guard: guard}
		err := o.guarded(ctx, func(ctx context.Context) (err error) { o.Storage, err = newS3(ctx, p); return err })
		return o, err
	}
	return nil, errkind.New(errkind.Unsupported, "repositories of type %q are not known: use directory, s3 or sftp", p.Location.Type)
}

func newS3(ctx context.Context, p repository.Place) (blob.Storage, error) {
	l, c := p.Location, p.Credentials
	if c.AccessKey == "" || c.SecretKey == "" {
		// kopia would look for credentials in the environment and on the network.
		return nil, errkind.New(errkind.Invalid, "bucket %s needs an access key and a secret key", l.Bucket)
	}
	o := &s3.Options{
		BucketName: l.Bucket, Prefix: l.Prefix, Endpoint: l.Endpoint, Region: l.Region, DoNotUseTLS: l.Insecure,
		AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken,
	}
	if o.Prefix != "" && !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	if l.CAFile != "" {
		ca, err := os.ReadFile(l.CAFile)
		if err != nil {
			return nil, errkind.Wrap(errkind.Invalid, err, "read the authorities for %s", l.Endpoint)
		}
		o.RootCA = ca
	}
	st, err := s3.New(ctx, o, false)
	if err != nil {
		return nil, err
	}
	return withoutRetries(st), nil
}

// withoutRetries takes kopia's retries off a storage: they repeat what is
// refused for ever, too, and do not stop when the context ends. Ours are in
// retry.go. The wrapper is private to kopia but its only field is not.
func withoutRetries(st blob.Storage) blob.Storage {
	v := reflect.Indirect(reflect.ValueOf(st))
	if v.Kind() != reflect.Struct || v.NumField() != 1 {
		return st
	}
	if inner, ok := v.Field(0).Interface().(blob.Storage); ok {
		return inner
	}
	return st
}

// place names a place in sentences.
func place(l repository.Location) string {
	switch l.Type {
	case repository.Directory:
		return "directory " + l.Path
	case repository.SFTP:
		return "sftp://" + l.Host + l.Path
	case repository.S3:
		return "s3://" + l.Bucket + "/" + l.Prefix
	}
	return l.Type
}
