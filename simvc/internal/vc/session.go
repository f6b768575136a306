package vc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// EndSessions logs everybody out.
func (s *Server) EndSessions() error {
	ctx := s.ctx()
	own := &simulator.Session{
		UserSession: types.UserSession{Key: "control"}, Registry: simulator.NewRegistry(), Map: ctx.Map,
	}
	ctx.Session = own
	m := own.Get(ctx.Map.SessionManager().Self).(*simulator.SessionManager)
	for _, open := range m.SessionList {
		res := m.TerminateSession(ctx, &types.TerminateSession{SessionId: []string{open.Key}})
		if res.Fault() != nil && !faultOf[*types.NotFound](res.Fault()) {
			return faultError(res.Fault())
		}
	}
	return nil
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, ready func()) error {
	defer s.model.Remove()
	for {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", s.addr)
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: s.front(s.svc.ServeMux), ReadHeaderTimeout: time.Minute, ErrorLog: quiet()}
		errs := make(chan error, 1)
		go func() { errs <- srv.Serve(tls.NewListener(l, s.svc.TLS)) }()
		if ready != nil {
			ready()
			ready = nil
		}
		var pause time.Duration
		select {
		case err := <-errs:
			return err
		case <-ctx.Done():
		case pause = <-s.sever:
		}
		_ = srv.Close()
		if err := <-errs; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Sever cuts all connections and takes no new ones for a while. It returns when
// the endpoint is about to go.
func (s *Server) Sever(ctx context.Context, d time.Duration) error {
	select {
	case s.sever <- d:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
