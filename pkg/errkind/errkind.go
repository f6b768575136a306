// Package errkind gives every error that crosses a package boundary a kind,
// and every kind one meaning on the wire, in an exit code and for the caller.
//
// The package that meets a foreign error (errno, SQL, HTTP) chooses the kind;
// nobody else looks at error texts. The message of an *Error is the sentence
// the user reads: what was wanted, what stands in the way, what to do.
package errkind

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what an error means to the caller. The string is the wire code.
type Kind string

// The kinds. NotFound is also what somebody without a right to know is told,
// in the same words as for absence.
const (
	Internal    Kind = "internal"    // our bug: report it
	Invalid     Kind = "invalid"     // the request is wrong: fix it
	NotFound    Kind = "not-found"   // absent, or not yours
	Exists      Kind = "exists"      // the name is taken by something else
	InUse       Kind = "in-use"      // attached, mounted or locked elsewhere: wait
	Denied      Kind = "denied"      // known caller, missing right
	Quota       Kind = "quota"       // a limit is reached
	Unavailable Kind = "unavailable" // peer, hypervisor or store away: retry
	Busy        Kind = "busy"        // asked too often: wait
	Corrupt     Kind = "corrupt"     // data contradicts itself: stop, never retried
	Unsupported Kind = "unsupported" // this backend or protocol lacks it
	Offline     Kind = "offline"     // a repository is away or is not the expected one: bring it back
	WrongKey    Kind = "wrong-key"   // a key does not open a repository

	Unconfigured Kind = "unconfigured" // the tenant's service lacks a part: add it
)

type traits struct {
	status, exit int
	general      Kind // the kind that this one is a special case of, with the same status
}

// The exit codes are those of the mooring command; the statuses are HTTP's.
var table = map[Kind]traits{
	Internal:    {status: 500, exit: 1},
	Invalid:     {status: 400, exit: 2},
	NotFound:    {status: 404, exit: 4},
	Exists:      {status: 409, exit: 6},
	InUse:       {status: 423, exit: 6},
	Denied:      {status: 403, exit: 5},
	Quota:       {status: 507, exit: 7},
	Unavailable: {status: 503, exit: 1},
	Busy:        {status: 429, exit: 1},
	Corrupt:     {status: 502, exit: 1},
	Unsupported: {status: 501, exit: 1},
	Offline:     {status: 503, exit: 10, general: Unavailable},
	WrongKey:    {status: 403, exit: 12, general: Denied},

	Unconfigured: {status: 403, exit: 5, general: Denied},
}

// Known reports whether k is one of the kinds above.
func (k Kind) Known() bool { _, ok := table[k]; return ok }

// HTTPStatus is the status code that carries k.
func (k Kind) HTTPStatus() int {
	if t, ok := table[k]; ok {
		return t.status
	}
	return 500
}

// ExitCode is what a command exits with when it fails with k.
func (k Kind) ExitCode() int {
	if t, ok := table[k]; ok {
		return t.exit
	}
	return 1
}

// FromHTTPStatus is the inverse of HTTPStatus, for answers without a kind that
// we know. Special cases come back as the general kind.
func FromHTTPStatus(status int) Kind {
	for k, t := range table {
		if t.status == status && t.general == "" {
			return k
		}
	}
	switch {
	case status == 401:
		return Denied
	case status == 408 || status == 504:
		return Unavailable
	case status >= 400 && status < 500:
		return Invalid
	}
	return Internal
}

// Error is an error with a kind. Msg is the user's sentence; Err, if any, is
// the cause and is appended after a colon.
type Error struct {
	Kind Kind
	Msg  string
	Err  error
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Msg
	case e.Msg == "":
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of kind k.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of kind k with a cause. A nil cause gives nil.
func Wrap(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: err}
}

// Of returns the kind of err: that of the outermost *Error in its tree,
// Unavailable for an ended context, otherwise Internal. Of(nil) is "".
func Of(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }

// Text is what a person is shown: the sentence of the outermost *Error in
// err's tree, without the prefixes that were added around it on the way. An
// error without a kind is shown whole.
func Text(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Error()
	}
	return err.Error()
}
