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

	"mooring.dev/mooring/simvc/control"
	"mooring.dev/mooring/simvc/internal/vc"
)

// request is the body of any operation.
type request struct {
	VM, As, Host, Datastore string
	Name, State, ID         string
	Key, Value, Dir         string
	On                      bool
	For                     time.Duration
	Fault                   control.Fault
}

type operation func(ctx context.Context, s *vc.Server, r request) (any, error)

// do makes an operation of what has no answer.
func do(f func(ctx context.Context, s *vc.Server, r request) error) operation {
	return func(ctx context.Context, s *vc.Server, r request) (any, error) { return nil, f(ctx, s, r) }
}

var operations = map[string]operation{
	"vms": func(_ context.Context, s *vc.Server, _ request) (any, error) { return s.VMs(), nil },
	"vm":  func(_ context.Context, s *vc.Server, r request) (any, error) { return s.VM(r.VM) },
	"power": do(func(ctx context.Context, s *vc.Server, r request) error {
		return s.Power(ctx, r.VM, r.On)
	}),
	"add-vm": do(func(ctx context.Context, s *vc.Server, r request) error {
		return s.AddVM(ctx, r.VM, r.Host, r.Datastore)
	}),
	"remove-vm": do(func(ctx context.Context, s *vc.Server, r request) error { return s.RemoveVM(ctx, r.VM) }),
	"set-datastore": do(func(_ context.Context, s *vc.Server, r request) error {
		return s.SetDatastore(r.Name, r.State)
	}),
	"set-datastore-type": do(func(_ context.Context, s *vc.Server, r request) error {
		return s.SetDatastoreType(r.Name, r.State)
	}),
	"set-lease-timeout": do(func(_ context.Context, s *vc.Server, r request) error {
		s.SetLeaseTimeout(r.For)
		return nil
	}),
	"snapshot": do(func(ctx context.Context, s *vc.Server, r request) error {
		return s.Snapshot(ctx, r.VM, r.Name)
	}),
	"revert-vm": do(func(ctx context.Context, s *vc.Server, r request) error {
		return s.RevertVM(ctx, r.VM, r.Name)
	}),
	"remove-snapshot": do(func(ctx context.Context, s *vc.Server, r request) error {
		return s.RemoveSnapshot(ctx, r.VM, r.Name)
	}),
	"clone-vm": do(func(ctx context.Context, s *vc.Server, r request) error { return s.CloneVM(ctx, r.VM, r.As) }),
	"migrate":  do(func(ctx context.Context, s *vc.Server, r request) error { return s.Migrate(ctx, r.VM, r.Host) }),
	"fault":    do(func(_ context.Context, s *vc.Server, r request) error { return s.Fault(r.Fault) }),
	"clear-faults": do(func(_ context.Context, s *vc.Server, _ request) error {
		s.ClearFaults()
		return nil
	}),
	"calls": func(_ context.Context, s *vc.Server, _ request) (any, error) { return s.Calls(), nil },
	"reset-calls": do(func(_ context.Context, s *vc.Server, _ request) error {
		s.ResetCalls()
		return nil
	}),
	"end-sessions": do(func(_ context.Context, s *vc.Server, _ request) error { return s.EndSessions() }),
	"sever":        do(func(ctx context.Context, s *vc.Server, r request) error { return s.Sever(ctx, r.For) }),
	"guest-info":   func(_ context.Context, s *vc.Server, r request) (any, error) { return s.GuestInfo(r.VM) },
	"set-guest-info": do(func(_ context.Context, s *vc.Server, r request) error {
		return s.SetGuestInfo(r.VM, r.Key, r.Value)
	}),
	"plug":      do(func(_ context.Context, s *vc.Server, r request) error { return s.Plug(r.VM, r.Dir) }),
	"unplug":    do(func(_ context.Context, s *vc.Server, r request) error { return s.Unplug(r.VM) }),
	"reset-cbt": do(func(_ context.Context, s *vc.Server, r request) error { return s.ResetCBT(r.ID) }),
}

// Listen opens the socket. One that a killed predecessor left is replaced.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	_ = os.Remove(path)
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

// Serve answers on the socket until ctx ends.
func Serve(ctx context.Context, l net.Listener, s *vc.Server) error {
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
