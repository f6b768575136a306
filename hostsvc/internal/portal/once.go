package portal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// onceField is the name of the form field that tells one form that was shown
// from all others, so that what is sent twice is done once.
const onceField = "once"

// formTime bounds the work on one form.
const formTime = 5 * time.Minute

// newForm names a form that is shown.
func newForm() string { return rand.Text() }

type formKey struct{}

// afresh is ctx for a call that is done as often as it is asked for.
func afresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, formKey{}, nil)
}

// form is one form of one user.
type form struct {
	user volspec.UserID
	name string
}

// whole gives q a context for the work on a form: it does not end with that of
// the browser's request, since a browser turns away at a second click. A form
// that is sent again meanwhile waits for the first. The caller calls end.
func (q *request) whole() (end func(), err error) {
	browser := q.ctx()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(browser), formTime)
	name := q.r.PostForm.Get(onceField)
	if name == "" || !q.user() {
		q.r = q.r.WithContext(ctx)
		return cancel, nil
	}
	f := form{q.caller.User, name}
	unlock, err := q.p.forms.Lock(browser, f)
	if err != nil {
		cancel()
		return nil, errkind.Wrap(errkind.Unavailable, err, "the same form is still being worked on: look at what it did in a moment")
	}
	q.r = q.r.WithContext(context.WithValue(ctx, formKey{}, f))
	return func() { unlock(); cancel() }, nil
}

// keyed is the API, which gets with each POST a key of the form that led to it.
type keyed struct{ api http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	f, ok := r.Context().Value(formKey{}).(form)
	if !ok || r.Method != http.MethodPost {
		return k.api.RoundTrip(r)
	}
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		if err = cmp.Or(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	// What was changed in a form before it was sent again is another request.
	sum := sha256.New()
	for _, part := range []string{f.name, r.URL.RequestURI(), string(body)} {
		sum.Write([]byte(part + "\n"))
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Set(wire.HeaderIdempotency, "portal-"+hex.EncodeToString(sum.Sum(nil)))
	return k.api.RoundTrip(r)
}
