package app

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var (
	_ api.Enrolment   = (*enroll.Service)(nil)
	_ enroll.Machines = hypervisor.Hypervisor(nil)
)

// guestDoor is the name of the TLS door of VMs.
const guestDoor = "VMs with a certificate"

// buildEnrolment opens the authority of this installation and makes the
// enrolment of VMs.
func (d *daemon) buildEnrolment(s state, c *catalog.Catalog) error {
	authority, err := enroll.OpenAuthority(d.cfg.StateDir, s.installation)
	if err != nil {
		return err
	}
	info, _ := hypervisor.As[hypervisor.GuestInfo](d.host)
	d.authority = authority
	d.guests = enroll.New(enroll.Options{
		Store: c.Enrolment(), Machines: d.host, GuestInfo: info, Authority: authority,
		URL:  d.guestURL,
		Auto: func() bool { return d.config().Guest.AutoEnroll },
		Life: time.Duration(d.cfg.Guest.CertificateLife),
	})
	return nil
}

// guestURL is the channel of VMs as they reach it, "" if there is none.
func (d *daemon) guestURL() string {
	for _, door := range d.openDoors() {
		if door.name != guestDoor {
			continue
		}
		if url := d.config().Guest.URL; url != "" {
			return url
		}
		return "tls://" + reachable(door.l.Addr())
	}
	return ""
}

// reachable is a listener's address as others reach it: without a host of its
// own it has the machine's name.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		name, err := os.Hostname()
		if err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// guestDoors is the TLS door of VMs, if cfg asks for one.
func (d *daemon) guestDoors(cfg config.Config) []*door {
	if cfg.Guest.Listen == "" {
		return nil
	}
	return []*door{{
		name:   guestDoor,
		key:    doorKey{network: "tls", address: cfg.Guest.Listen},
		cert:   d.authority.Server,
		shared: true,
		id: d.gate.before(api.CertifiedPeers(func(ctx context.Context, chain []*x509.Certificate, fresh bool) (volspec.Caller, error) {
			vm, err := d.guests.Authorize(ctx, chain, fresh)
			if err != nil {
				return volspec.Caller{}, err
			}
			return guest(ctx, d.host, vm)
		})),
	}}
}

// checkGuests reports VMs whose certificates raised an alarm, and those that
// cannot renew any more.
func (s *system) checkGuests(ctx context.Context) ([]wire.Finding, error) {
	states, err := s.d.guests.States(ctx)
	if err != nil || len(states) == 0 {
		return nil, err
	}
	vms, err := s.d.host.VMs(ctx)
	if err != nil {
		return nil, err
	}
	var found []wire.Finding
	good := 0
	for _, vm := range vms {
		state := states[vm.ID]
		f := wire.Finding{Level: levelWarning, Check: "certificate of VM " + vm.Name, Detail: state}
		switch state {
		case enroll.Refused:
			f.Level = levelError
			f.Remedy = "a copy of the VM is running, or it was set back: shut the copy down, then run mooring vm enroll " + vm.Name
		case enroll.Expired:
			f.Remedy = "it was off or away for long: run mooring vm enroll " + vm.Name + " and give it the code"
		default:
			if state != "" {
				good++
			}
			continue
		}
		found = append(found, f)
	}
	if good > 0 {
		found = append(found, wire.Finding{Level: levelOK, Check: "certificates of VMs", Detail: count(good, "VM") + " as they should be"})
	}
	return found, nil
}
