package hostclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

// Download is content on its way. Read ends with io.EOF only when all of it
// has come; an answer that was cut off is an error of kind unavailable. The
// caller closes it, at any time. Options' Patience and Timeout do not apply.
type Download struct {
	io.ReadCloser
	Name string // that the service proposes for a file
	Size int64  // -1: not known
}

// open begins an answer that is as long as it is. The caller closes its body.
func (c *core) open(ctx context.Context, q url.Values, path ...string) (*http.Response, error) {
	target, err := call{path: path, query: q}.target(c.base())
	if err != nil {
		return nil, err
	}
	if log.Request(ctx) == "" {
		ctx = log.WithRequest(ctx, "")
	}
	resp, err := c.send(ctx, http.MethodGet, target, nil)
	if lost, ok := errors.AsType[*lostError](err); ok {
		if lost.sent {
			return nil, c.cutOff(ctx, lost.err)
		}
		return nil, lost.err
	}
	if err != nil || resp.StatusCode/100 == 2 {
		return resp, err
	}
	defer func() { _ = resp.Body.Close() }() // an answer that is not wanted
	data, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxRequest))
	if err != nil {
		return nil, c.cutOff(ctx, err)
	}
	return nil, c.problem(resp, data)
}

func (c *core) download(ctx context.Context, q url.Values, path ...string) (Download, error) {
	resp, err := c.open(ctx, q, path...) //nolint:bodyclose // the Download closes it
	if err != nil {
		return Download{}, err
	}
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Disposition")) // none: no name
	return Download{ReadCloser: c.body(ctx, resp.Body), Name: params["filename"], Size: resp.ContentLength}, nil
}

// body puts the errors of an answer into words.
type body struct {
	io.ReadCloser
	words func(error) error
}

func (c *core) body(ctx context.Context, r io.ReadCloser) *body {
	return &body{r, func(err error) error { return c.cutOff(ctx, err) }}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.words(err)
	}
	return n, err
}

func (c *core) cutOff(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errkind.Wrap(errkind.Unavailable, context.Canceled, "the call to the host service at %s was given up", c.url)
	}
	return errkind.Wrap(errkind.Unavailable, rootCause(err), "the host service at %s cut its answer off: what came is not whole, and its log says why (request %s)", c.url, log.Request(ctx))
}

// events reads server-sent events, each a T in JSON.
func events[T any](ctx context.Context, a *Admin, q url.Values, path ...string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		resp, err := a.open(ctx, q, path...)
		if err != nil {
			yield(none, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // read to its end or given up
		lines := bufio.NewScanner(a.body(ctx, resp.Body))
		lines.Buffer(nil, wire.MaxReply)
		for lines.Scan() {
			data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if !ok {
				continue
			}
			var event T
			if err := json.Unmarshal(data, &event); err != nil {
				yield(none, errkind.Wrap(errkind.Corrupt, err, "the answer of the host service at %s is not understood: is it mooringd, of a compatible version?", a.url))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(none, err)
		}
	}
}
