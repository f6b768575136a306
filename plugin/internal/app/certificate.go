package app

import (
	"context"
	"strings"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/plugin/internal/identity"
)

// certificate is the VM's identity on a tls:// channel; on others it is none.
type certificate struct {
	identity *identity.Identity
	service  host
}

func openCertificate(ctx context.Context, s Settings, state, boot string, o hostclient.Options) certificate {
	if !transport.IsTLS(s.Host) {
		return certificate{}
	}
	read, place := identity.GuestInfo, "its guestinfo"
	if s.Enroll != guestInfo {
		read, place = identity.File(hostPath(s.Enroll)), s.Enroll
	}
	ca := s.CA
	if strings.HasPrefix(ca, "/") {
		ca = hostPath(ca)
	}
	id, err := identity.Open(identity.Options{URL: s.Host, Dir: state, CA: ca, Boot: boot, Invitation: read, Place: place, Client: o})
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("the certificate of this VM was lost: it must enrol again")
	}
	return certificate{identity: id}
}

// run keeps the certificate good until ctx ends.
func (c certificate) run(ctx context.Context) error {
	if c.identity == nil {
		<-ctx.Done()
		return nil
	}
	return c.identity.Run(ctx, c.service.quick, c.service.reconnect)
}
