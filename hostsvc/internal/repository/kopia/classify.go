package kopia

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/minio/minio-go/v7"
	"github.com/pkg/sftp"

	"mooring.dev/mooring/pkg/errkind"
)

// errRefused is a storage that does not take our credentials, or not for this.
var errRefused = errors.New("the storage refuses the credentials")

// errReadOnly is a storage that can be read and not written.
var errReadOnly = errors.New("the place is read-only")

// trouble is what an error of a storage means.
type trouble int

const (
	transient trouble = iota // worth another try
	absent
	forbidden
	full
	ended // the caller gave up
	final // has a kind already, or is no use to repeat
)

// diagnose looks at types, never at texts.
func diagnose(err error) trouble {
	var s3 minio.ErrorResponse
	var remote *sftp.StatusError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ended
	case errors.Is(err, blob.ErrBlobNotFound), errors.Is(err, blob.ErrInvalidRange):
		return absent
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return full
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission), errors.Is(err, blob.ErrInvalidCredentials), errors.Is(err, errRefused), errors.Is(err, errReadOnly):
		return forbidden
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, blob.ErrUnsupportedPutBlobOption), errors.Is(err, blob.ErrSetTimeUnsupported):
		return final
	case errors.As(err, &s3):
		return diagnoseS3(s3)
	case errors.As(err, &remote):
		if remote.FxCode() == sftp.ErrSSHFxPermissionDenied {
			return forbidden
		}
	}
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return final
	}
	return transient
}

func diagnoseS3(e minio.ErrorResponse) trouble {
	switch e.Code {
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return full
	case "SlowDown", "RequestTimeTooSkewed":
		return transient
	case "NoSuchBucket":
		return final
	}
	switch e.StatusCode {
	case 401, 403:
		return forbidden
	case 507:
		return full
	}
	if e.StatusCode >= 400 && e.StatusCode < 500 && e.StatusCode != 408 && e.StatusCode != 429 {
		return final
	}
	return transient
}

// kindOf is the kind of a storage's error.
func kindOf(err error) errkind.Kind {
	if e, ok := errors.AsType[*errkind.Error](err); ok {
		return e.Kind
	}
	switch diagnose(err) {
	case full:
		return errkind.Quota
	case ended, transient, final, forbidden, absent:
	}
	return errkind.Unavailable
}

// lost reports whether an error of reading a content says that the content is
// damaged, and not that the storage is away: it is unknown, its blob is gone
// or too short, or its bytes are not those that were stored.
func lost(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, errIndex) ||
		errors.Is(err, blob.ErrBlobNotFound) || errors.Is(err, blob.ErrInvalidRange) ||
		errors.Is(err, content.ErrContentNotFound) || errors.Is(err, object.ErrObjectNotFound)
}

// failed gives an error that comes out of kopia a sentence and a kind. The
// guard gave one to every error of the storage: what has none is kopia's own,
// which cannot make sense of what it read.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	k := errkind.Corrupt
	switch e, ok := errors.AsType[*errkind.Error](err); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		k = errkind.Unavailable
	case lost(err):
	case ok:
		k = e.Kind
	case diagnose(err) != transient:
		k = kindOf(err)
	}
	return errkind.Wrap(k, err, format, args...)
}
