package api

import (
	"context"
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// readyTime bounds one question whether the service is ready.
const readyTime = 5 * time.Second

// observer is the handler of a path outside the prefix, for machines that look
// after the service; nil if there is none.
func (s *Server) observer(path string) http.HandlerFunc {
	var h http.HandlerFunc
	switch path {
	case "/healthz":
		h = func(w http.ResponseWriter, _ *http.Request) { writeText(w, "ok") }
	case "/readyz":
		h = s.ready
	case "/metrics":
		h = s.metrics.handler.ServeHTTP
	default:
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			h(w, r)
			return
		}
		w.Header().Set("Allow", "GET, HEAD")
		err := errkind.New(errkind.Invalid, "method %s does not exist here: use GET", clip(r.Method))
		writeProblem(w, wrongMethod(problemFor(log.WithRequest(r.Context(), ""), volspec.Caller{}, err)))
	}
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(log.WithRequest(r.Context(), ""), readyTime)
	defer cancel()
	if err := s.o.System.Ready(ctx); err != nil {
		writeProblem(w, problemFor(ctx, volspec.Caller{}, errkind.Wrap(errkind.Unavailable, err, "mooringd is not ready")))
		return
	}
	writeText(w, "ready")
}

func writeText(w http.ResponseWriter, text string) {
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(text))
}
