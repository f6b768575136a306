package vcenter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Is reports whether a fault of type F is in err.
func Is[F types.BaseMethodFault](err error) bool {
	_, ok := As[F](err)
	return ok
}

// As finds a fault of type F in err.
func As[F types.BaseMethodFault](err error) (f F, ok bool) {
	if err == nil {
		return f, false
	}
	_, ok = fault.As(err, &f)
	return f, ok
}

// Lost reports whether the connection was lost, so that nobody knows whether
// what was asked for has been done.
func Lost(err error) bool {
	var l *lost
	return errors.As(err, &l)
}

type lost struct{ err error }

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

// StatusError is an answer of HTTP that is not the expected one.
type StatusError struct {
	Status int
}

func (e *StatusError) Error() string { return http.StatusText(e.Status) }

// Translate gives err its kind and the sentence of a person who wanted what:
// "creating disk X". The fault stays in it, for Is and As. An error that has a
// kind keeps it and its sentence.
func Translate(err error, what string) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*errkind.Error](err); ok {
		return e
	}
	if f := faultOf(err); f != nil {
		return translateFault(err, f, what)
	}
	var status *StatusError
	var op *net.OpError
	var urlErr *url.Error
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return errkind.Wrap(errkind.Unavailable, &lost{err}, "%s was given up", what)
	case errors.As(err, &unknown):
		return errkind.Wrap(errkind.Denied, err, "%s: the certificate of vCenter is signed by nobody known: set the CA file that signed it, or pin its thumbprint", what)
	case errors.As(err, &host):
		return errkind.Wrap(errkind.Denied, err, "%s: the certificate of vCenter is for another name: use the name in the certificate as the address, or pin its thumbprint", what)
	case errors.As(err, &verify):
		return errkind.Wrap(errkind.Denied, err, "%s: the certificate of vCenter is not valid", what)
	case errors.As(err, &status):
		return translateStatus(status, what)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op), errors.As(err, &urlErr):
		return errkind.Wrap(errkind.Unavailable, &lost{err}, "%s: the connection to vCenter was lost; repeat it", what)
	}
	return errkind.Wrap(errkind.Internal, err, "%s", what)
}

func translateStatus(e *StatusError, what string) error {
	kind, hint := errkind.FromHTTPStatus(e.Status), ""
	if e.Status == http.StatusInternalServerError {
		// The host that was asked does not hold the file's lock, or is busy.
		kind, hint = errkind.Unavailable, "; repeat it"
	}
	return errkind.Wrap(kind, e, "%s was answered with status %d%s", what, e.Status, hint)
}

// faultOf is the outermost fault in err, nil when there is none.
func faultOf(err error) types.BaseMethodFault {
	var f types.BaseMethodFault
	if _, ok := fault.As(err, &f); !ok {
		return nil
	}
	return f
}

// Text is what the server says about a fault in its own words.
func Text(err error) string {
	var said []string
	fault.In(err, func(f types.BaseMethodFault, localized string, _ []types.LocalizableMessage) bool {
		if localized != "" {
			said = append(said, localized)
		}
		return false
	})
	if len(said) == 0 {
		return err.Error()
	}
	return strings.Join(said, ": ")
}

// Keys are the keys of the messages of all faults in err: they stay the same in
// all languages and tell more than the fault's type.
func Keys(err error) (keys []string) {
	fault.In(err, func(_ types.BaseMethodFault, _ string, messages []types.LocalizableMessage) bool {
		for _, m := range messages {
			keys = append(keys, m.Key)
		}
		return false
	})
	return keys
}

func faultName(f types.BaseMethodFault) string {
	t := reflect.TypeOf(f)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}
