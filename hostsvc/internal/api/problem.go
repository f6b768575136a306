package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// noEndpoint is said of every path that does not exist for the caller.
var noEndpoint = errkind.New(errkind.NotFound, "there is no such endpoint for this caller: is it one for the provider, or is the other side of another version?")

// notLoggedIn is said to visitors of everything that is not for them.
var notLoggedIn = errkind.New(errkind.Denied, "you are not logged in, or your session has ended: log in")

// problemFor is what the caller is told of err. Internal errors keep their
// text for the log. Guests are not told foreign causes, such as errors of
// the file system: they name places of the host.
func problemFor(ctx context.Context, c volspec.Caller, err error) wire.Problem {
	kind := errkind.Of(err)
	p := wire.Problem{Kind: string(kind), Status: kind.HTTPStatus(), Request: log.Request(ctx)}
	if own, ok := errors.AsType[*statusError](err); ok {
		p.Status = own.status
	}
	p.Title = http.StatusText(p.Status)
	switch {
	case kind == errkind.Internal:
		p.Detail = fmt.Sprintf("internal error, see the log of mooringd for request %s", p.Request)
	case isEnd(err):
		p.Detail = fmt.Sprintf("the work was not finished in time: repeat the command to see how it ends (request %s)", p.Request)
	case c.Admin:
		p.Detail = errkind.Text(err)
	default:
		p.Detail = ownWords(err)
	}
	p.Detail = visible.Text(p.Detail)
	return p
}

// statusError is an error for which HTTP has a word of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// isEnd reports an ended context that nobody put into words.
func isEnd(err error) bool {
	_, worded := errors.AsType[*errkind.Error](err)
	return !worded && errkind.Of(err) == errkind.Unavailable
}

// ownWords joins the sentences in err's chain without foreign causes.
func ownWords(err error) string {
	var said []string
	for {
		e, ok := errors.AsType[*errkind.Error](err)
		if !ok {
			return strings.Join(said, ": ")
		}
		if e.Msg != "" {
			said = append(said, e.Msg)
		}
		err = e.Err
	}
}

// wrongMethod is p for a path that exists, with other methods.
func wrongMethod(p wire.Problem) wire.Problem {
	p.Status = http.StatusMethodNotAllowed
	p.Title = http.StatusText(p.Status)
	return p
}

// unauthorized is p for somebody who may do it after a log-in.
func unauthorized(p wire.Problem) wire.Problem {
	p.Status = http.StatusUnauthorized
	p.Title = http.StatusText(p.Status)
	return p
}

func writeProblem(w http.ResponseWriter, p wire.Problem) {
	body, err := json.Marshal(p)
	if err != nil { // strings and a number: cannot happen
		body = []byte("{}")
	}
	w.Header().Set(wire.HeaderRequest, p.Request)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mooring"`)
	}
	if p.Status == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "60") // log-ins are counted by the minute
	}
	write(w, p.Status, "application/problem+json", body)
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a peer that went away is its own affair
}
