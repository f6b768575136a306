package api

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"

	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Enrolment is what the interface wants of the enrolment of VMs.
type Enrolment interface {
	// Enroll and Renew are about the connection of the request; host, binding
	// and chain are of it, nothing where it is no TLS channel.
	Enroll(ctx context.Context, c volspec.Caller, host string, binding []byte, r wire.Enroll) (wire.Certificate, error)
	Renew(ctx context.Context, c volspec.Caller, chain []*x509.Certificate, r wire.Renew) (wire.Certificate, error)
	Invite(ctx context.Context, c volspec.Caller, vm string, place bool) (wire.Invitation, error)
	Revoke(ctx context.Context, c volspec.Caller, vm string) error
	// States says where VMs stand that have a certificate or a code.
	States(ctx context.Context) (map[volspec.VMID]string, error)
}

var enrolEndpoints = []endpoint{
	{
		http.MethodPost, "/enroll", strangers, enroll, noTenant,
		"Get a VM's first certificate for its one-time code", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Enroll) (wire.Certificate, error) {
			host, binding, err := bindingOf(ctx)
			if err != nil {
				return wire.Certificate{}, err
			}
			return s.o.Enrolment.Enroll(ctx, c.caller, host, binding, in)
		}),
	},
	{
		http.MethodPost, "/certificate", guests, enrolRenew, ofChannel,
		"Get a new certificate for the calling VM", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Renew) (wire.Certificate, error) {
			return s.o.Enrolment.Renew(ctx, c.caller, chainOf(ctx), in)
		}),
	},
	{
		http.MethodPost, "/vms/{vm}/enroll", admins, serviceManage, allTenants,
		"Make a one-time code with which a VM enrols", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Invite) (wire.Invitation, error) {
			return s.o.Enrolment.Invite(ctx, c.caller, c.vars["vm"], in.GuestInfo)
		}),
	},
	{
		http.MethodPost, "/vms/{vm}/revoke", admins, serviceManage, allTenants,
		"End all certificates and codes of a VM", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Enrolment.Revoke(ctx, c.caller, c.vars["vm"]), "the certificates of VM", c.vars["vm"], "are revoked")
		}),
	},
}

// bindingOf is the peer's address and the binding of a TLS channel.
func bindingOf(ctx context.Context) (host string, binding []byte, err error) {
	conn, ok := transport.TLSOf(ConnOf(ctx))
	if !ok {
		return "", nil, nil
	}
	host, _, _ = net.SplitHostPort(conn.RemoteAddr().String()) // of TCP, so it has both
	binding, err = transport.Binding(conn.ConnectionState())
	return host, binding, err
}

// chainOf is what the peer of a TLS channel has shown.
func chainOf(ctx context.Context) []*x509.Certificate {
	conn, ok := transport.TLSOf(ConnOf(ctx))
	if !ok {
		return nil
	}
	return conn.ConnectionState().PeerCertificates
}

// vms lists all VMs with where their enrolment stands.
func vms(ctx context.Context, s *Server, _ *call) ([]wire.VM, error) {
	all, err := s.o.Volumes.VMs(ctx)
	if err != nil {
		return nil, err
	}
	states, err := s.o.Enrolment.States(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Certificate = states[all[i].ID]
	}
	return all, nil
}
