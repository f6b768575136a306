package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
)

// bodyTime is how long a request's body may take to arrive, and how much longer
// for each MiB that it may have.
const (
	bodyTime    = 10 * time.Second
	bodyMiBTime = time.Second
)

// readBody reads a JSON body into a new value of type t. strict refuses
// fields that this build does not know: right for an administrator, whose
// typing error must not be obeyed half, wrong for guests, whose plugin may be
// one version ahead of the service. A body of more than most bytes is refused.
func readBody(w http.ResponseWriter, r *http.Request, t reflect.Type, most int64, strict bool) (any, error) {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime + time.Duration(most>>20)*bodyMiBTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, errkind.Wrap(errkind.Unavailable, err, "request body")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, &statusError{errkind.New(errkind.Invalid, "the request body is larger than %d KiB", big.Limit>>10), http.StatusRequestEntityTooLarge}
		}
		return nil, errkind.Wrap(errkind.Unavailable, err, "the request body did not arrive")
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, errkind.Wrap(errkind.Unavailable, err, "request body")
	}
	into := reflect.New(t).Interface()
	return into, decode(data, into, strict)
}

func decode(data []byte, into any, strict bool) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errkind.New(errkind.Invalid, "the request has no body: send a JSON object, {} at least")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return badBody(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errkind.New(errkind.Invalid, "the request body is not valid: there is something after the JSON object")
	}
	if strict {
		return checkPlain(data)
	}
	return nil
}

// checkPlain refuses what a person means otherwise than it is read: text that
// is none, which would be replaced, and members that come twice, of which only
// the last would count. Members are read whatever their case is.
func checkPlain(data []byte) error {
	if !utf8.Valid(data) {
		return errkind.New(errkind.Invalid, "the request body is not valid: it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // of objects the members so far, nil for lists
	name := false              // the next token, if it is a string, names a member
	for {
		token, err := dec.Token()
		if err != nil {
			return nil //nolint:nilerr // the end: the body was decoded before
		}
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
		case string:
			if name {
				folded := strings.ToLower(strings.ToUpper(v))
				if members := open[len(open)-1]; members[folded] {
					return errkind.New(errkind.Invalid, "the request body is not valid: field %q is there twice", clip(v))
				} else {
					members[folded] = true
				}
				name = false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// checkMedia refuses bodies that say they are no JSON, as those of forms do
// that another site could send.
func checkMedia(h http.Header) error {
	said := h.Get("Content-Type")
	if said == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(said); err != nil || media != "application/json" {
		return &statusError{errkind.New(errkind.Invalid, "a body of type %q is not understood: send application/json", clip(said)), http.StatusUnsupportedMediaType}
	}
	return nil
}

func badBody(err error) error {
	if errkind.Of(err) == errkind.Invalid { // of a type with its own words, such as a size
		return err
	}
	const text = "the request body is not valid"
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := ""
		if e.Field != "" {
			where = fmt.Sprintf(": field %q", e.Field)
		}
		return errkind.New(errkind.Invalid, "%s%s is a JSON %s, which does not fit", text, where, e.Value)
	}
	return errkind.New(errkind.Invalid, "%s: %s", text, err.Error())
}
