package enroll

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// copied is what is told of a VM whose replaced certificate came back.
const copied = "copied or reverted"

// Authorize says which VM the certificates of a connection are of, for one
// request. fresh tells that none was allowed on this connection before. What
// was revoked or replaced since the request before is refused, in a sentence
// that says what to do; the refusal of a replaced certificate on a fresh
// connection marks the VM.
func (s *Service) Authorize(ctx context.Context, chain []*x509.Certificate, fresh bool) (volspec.VMID, error) {
	var vm VM
	var cert Certificate
	var refused error
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		vm, cert, refused, err = s.look(tx, chain)
		return err
	})
	switch {
	case err != nil:
		return "", err
	case refused != nil:
		return "", refused
	case cert.Replaced && fresh:
		return "", s.alarm(ctx, vm, cert)
	case !s.o.Now().Before(cert.Expires):
		return "", again(vm, "has expired on "+cert.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	case !cert.Used:
		return vm.ID, s.use(ctx, cert)
	}
	return vm.ID, nil
}

// look finds the records of a certificate and judges what does not depend on
// its time. err is a failure to look, refused a refusal.
func (s *Service) look(tx Tx, chain []*x509.Certificate) (vm VM, cert Certificate, refused, err error) {
	id, serial, refused := s.o.Authority.identify(chain)
	if refused != nil {
		return vm, cert, refused, nil
	}
	vm.ID = id
	cert, err = tx.GuestCertificate(serial)
	if absent(err) || err == nil && cert.VM != id {
		return vm, cert, again(vm, "is not in the catalog"), nil
	}
	if err != nil {
		return vm, cert, nil, err
	}
	if vm, err = tx.GuestVM(id); err != nil {
		return vm, cert, nil, err
	}
	switch {
	case vm.Revoked:
		return vm, cert, again(vm, "was revoked"), nil
	case cert.Generation != vm.Generation:
		return vm, cert, again(vm, "was ended by a later enrolment"), nil
	}
	return vm, cert, nil, nil
}

// again is the refusal of a certificate that only a new enrolment replaces.
func again(vm VM, why string) error {
	return errkind.New(errkind.Denied, "the certificate of this VM %s: enrol it again with `mooring vm enroll %s`", why, cmp.Or(vm.Name, string(vm.ID)))
}

// use notes the first use of a certificate, which replaces those before it.
func (s *Service) use(ctx context.Context, cert Certificate) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.GuestCertificates(cert.VM)
		if err != nil {
			return err
		}
		for _, c := range all {
			switch {
			case c.Serial == cert.Serial:
				c.Used = true
			case c.Used && c.Generation == cert.Generation && !c.Replaced && !c.Issued.After(cert.Issued):
				c.Replaced = true
			default:
				continue
			}
			if err := tx.PutGuestCertificate(c); err != nil {
				return err
			}
		}
		return tx.TrimGuestCertificates(s.o.Now().Add(-keepExpired))
	})
}

// alarm refuses a replaced certificate and marks its VM; the first time is
// written down.
func (s *Service) alarm(ctx context.Context, vm VM, cert Certificate) error {
	refused := errkind.New(errkind.Denied, "the certificate of this VM was replaced by a newer one: the VM was %s; shut the copy down, or enrol the VM that shall go on with `mooring vm enroll %s`", copied, vm.Name)
	first := false
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		first = false
		now, err := tx.GuestVM(vm.ID)
		if err != nil || now.Generation != cert.Generation || now.Refused != "" {
			return err
		}
		first = true
		now.Refused, now.RefusedAt = copied, s.o.Now().UTC()
		return errors.Join(tx.PutGuestVM(now),
			s.audit(ctx, tx, volspec.Caller{Actor: "vm:" + vm.Name}, "vm refused", vm.ID, vm.Name, string(errkind.Denied), "a replaced certificate was shown: the VM was "+copied))
	})
	if first {
		log.G(ctx).WithField(log.VM, vm.Name).Warn("a replaced certificate was shown: the VM was copied or reverted")
	}
	return errors.Join(refused, err)
}
