package api

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

type insideKey struct{}

// WithCaller is ctx for requests through Inside in the name of c.
func WithCaller(ctx context.Context, c volspec.Caller) context.Context {
	return context.WithValue(ctx, insideKey{}, c)
}

// Inside is the way to the interface for other parts of this process, such as
// the portal: the same endpoints, checks and words as over a network, for the
// caller that WithCaller put into the request's context. It is safe for
// concurrent use.
func (s *Server) Inside() http.RoundTripper { return inside{s} }

type inside struct{ s *Server }

// RoundTrip implements http.RoundTripper.
func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	a := &answerWriter{header: http.Header{}, body: w, begun: make(chan struct{})}
	ctx, cancel := context.WithCancel(r.Context())
	go func() { // ends with the request, at the latest when the reader closes the body
		defer func() {
			cut := recover()
			a.WriteHeader(http.StatusOK)
			if cut != nil {
				_ = w.CloseWithError(io.ErrUnexpectedEOF) // as a connection that was cut
				return
			}
			_ = w.Close() // never fails
		}()
		i.s.serve(a, r.WithContext(ctx), func(ctx context.Context, _ *http.Request) (volspec.Caller, error) {
			c, ok := ctx.Value(insideKey{}).(volspec.Caller)
			if !ok {
				return c, errkind.New(errkind.Internal, "a request inside the process names no caller")
			}
			return c, nil
		})
	}()
	select {
	case <-a.begun:
	case <-r.Context().Done():
		cancel()
		_ = body.CloseWithError(r.Context().Err()) // never fails
		return nil, context.Cause(r.Context())
	}
	length, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1 // not known
	}
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: ending{body, cancel}, ContentLength: length, Request: r,
	}, nil
}

// ending ends the request when its answer is closed.
type ending struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (e ending) Close() error {
	e.cancel()
	return e.PipeReader.Close()
}

// answerWriter is an answer on its way to a reader in this process.
type answerWriter struct {
	header http.Header
	status int
	body   *io.PipeWriter
	begun  chan struct{}
}

func (a *answerWriter) Header() http.Header { return a.header }

func (a *answerWriter) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	a.header = a.header.Clone()
	close(a.begun)
}

func (a *answerWriter) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush has nothing to do: a reader waits for every byte.
func (a *answerWriter) Flush() {}
