// Package socket serves the control socket of mooring-simvc: one JSON request
// per operation.
package socket

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"mooring.dev/mooring/simvc/internal/vc"
)

// request is the body of any operation.
type request struct {
	VM          string
	Name, State string
	On          bool
}

type operation func(ctx context.Context, s *vc.Server, r request) (any, error)

var operations = map[string]operation{
	"vms": func(_ context.Context, s *vc.Server, _ request) (any, error) { return s.VMs(), nil },
	"vm":  func(_ context.Context, s *vc.Server, r request) (any, error) { return s.VM(r.VM) },
	"set-datastore": func(_ context.Context, s *vc.Server, r request) (any, error) {
		return nil, s.SetDatastore(r.Name, r.State)
	},
	"power": func(_ context.Context, s *vc.Server, r request) (any, error) { return nil, s.Power(r.VM, r.On) },
}

// Serve answers on a unix socket until ctx ends. A socket that a killed
// predecessor left is replaced.
func Serve(ctx context.Context, path string, s *vc.Server) error {
	_ = os.Remove(path)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for name, op := range operations {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, hr *http.Request) {
			var r request
			if err := json.NewDecoder(hr.Body).Decode(&r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			out, err := op(hr.Context(), s, r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
