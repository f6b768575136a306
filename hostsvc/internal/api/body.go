package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// bodyTime is how long a request's body may take to arrive.
const bodyTime = 10 * time.Second

// readBody reads a JSON body into a new value of type t. strict refuses
// fields that this build does not know: right for an administrator, whose
// typing error must not be obeyed half, wrong for guests, whose plugin may be
// one version ahead of the service.
func readBody(w http.ResponseWriter, r *http.Request, t reflect.Type, strict bool) (any, error) {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, errkind.Wrap(errkind.Unavailable, err, "request body")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxRequest))
	if err != nil {
		if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, errkind.New(errkind.Invalid, "the request body is larger than %d KiB", big.Limit>>10)
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
