package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// send makes the handler of an endpoint that writes bytes of one media type.
func send(media string, f func(ctx context.Context, s *Server, c *call, w *streamWriter) error) handler {
	return handler{media: media, stream: f}
}

// piece is how much a peer must read within the server's writeTime: what is
// slower than that counts as not reading.
const piece = 32 << 10

// streamWriter writes the answer of a stream. Until its first byte nothing is
// decided, and an error can still be told.
type streamWriter struct {
	w         http.ResponseWriter
	rc        *http.ResponseController
	writeTime time.Duration
	media     string
	name      string // for a download, "" for none
	size      int64  // -1: not known
	started   bool   // start was called
	begun     bool   // the header is written
	written   int64
}

// start says what comes: a name for a download and a length, -1 if it is not
// known.
func (s *streamWriter) start(name string, size int64) {
	s.started, s.name, s.size = true, name, size
}

// begin writes the header, once.
func (s *streamWriter) begin() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", s.media)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if s.name != "" {
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": s.name}))
	}
	if s.size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(s.size, 10))
	}
	s.w.WriteHeader(http.StatusOK)
}

// Write sends b. It ends with an error when the peer does not read.
func (s *streamWriter) Write(b []byte) (int, error) {
	if !s.started {
		return 0, errkind.New(errkind.Internal, "a stream is written before it is started")
	}
	n := 0
	for len(b) > 0 {
		s.alive()
		s.begin()
		k, err := s.w.Write(b[:min(len(b), piece)])
		n += k
		s.written += int64(k)
		if err != nil {
			return n, errkind.Wrap(errkind.Unavailable, err, "the other side does not take the answer any more")
		}
		b = b[k:]
	}
	return n, nil
}

// flush sends what is buffered.
func (s *streamWriter) flush() error {
	s.alive()
	s.begin()
	return errkind.Wrap(errkind.Unavailable, s.rc.Flush(), "the other side does not take the answer any more")
}

// alive gives the peer time for the next piece.
func (s *streamWriter) alive() {
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.writeTime)) // fails only where there is no connection
}

// finish checks that all of the answer was written.
func (s *streamWriter) finish() error {
	switch {
	case !s.started:
		return errkind.New(errkind.Internal, "a stream ended before it was started")
	case s.size >= 0 && s.written != s.size:
		return errkind.New(errkind.Internal, "a stream of %d bytes ended after %d", s.size, s.written)
	}
	s.begin()
	return nil
}

// sendStream lets the endpoint of x write its answer. There is no limit but
// that the peer reads. An error before the first byte is a problem like any
// other; after it the connection is cut, so that the peer does not take a part
// for the whole.
func (s *Server) sendStream(ctx context.Context, w http.ResponseWriter, x *exchange, start time.Time) {
	out := &streamWriter{w: w, rc: http.NewResponseController(w), writeTime: s.writeTime, media: x.endpoint.media, size: -1}
	ctx, stop := s.watched(ctx, x)
	defer stop()
	_, err := guarded(func() ([]byte, error) {
		if err := x.endpoint.stream(x.named(ctx), s, x.call, out); err != nil {
			return nil, err
		}
		return nil, out.finish()
	})
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause // mooringd is stopping
	}
	s.record(ctx, x, err, time.Since(start))
	out.alive()
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler)
	default:
		writeProblem(w, problemFor(ctx, x.caller, err))
	}
}

// follow sends a job as server-sent events whenever it has changed, until it
// has ended. When mooringd stops, the stream ends before that: the other side
// asks again.
func follow(ctx context.Context, s *Server, c *call, w *streamWriter) error {
	stop := stoppingOf(ctx)
	tick := time.NewTicker(s.eventPause)
	defer tick.Stop()
	var last []byte
	heard := time.Now()
	for {
		j, err := s.o.Backups.Job(ctx, c.group(), c.job(), 0)
		if err != nil {
			return err
		}
		event, err := json.Marshal(j)
		if err != nil {
			return errkind.Wrap(errkind.Internal, err, "encode the event")
		}
		switch {
		case string(event) != string(last):
			last, heard = event, time.Now()
			err = w.event("data: " + string(event))
		case time.Since(heard) >= s.keepAlive:
			heard = time.Now()
			err = w.event(": still here")
		}
		if err != nil || j.Over() {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return nil
		}
	}
}

func (s *streamWriter) event(line string) error {
	s.started = true
	if _, err := s.Write([]byte(line + "\n\n")); err != nil {
		return err
	}
	return s.flush()
}

// events is the handler of follow.
func events() handler {
	return handler{out: reflect.TypeFor[wire.Job](), media: "text/event-stream", stream: follow}
}
