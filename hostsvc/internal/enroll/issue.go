package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// errCode is the same whatever is wrong with a code, so that nothing is
// learned by trying.
var errCode = errkind.New(errkind.Denied, "this code is not valid: it was used, has expired, or was never given; make a new one with `mooring vm enroll`")

// Enroll issues a VM's first certificate of a new generation. host is the
// address of the caller, binding that of its connection (nil: not a TLS
// channel, which is unsupported). The VM is the one that the code was made
// for, whatever the caller says. The code is used up, all older certificates
// of the VM are dead.
func (s *Service) Enroll(ctx context.Context, c volspec.Caller, host string, binding []byte, r wire.Enroll) (wire.Certificate, error) {
	if len(binding) == 0 {
		return wire.Certificate{}, errkind.New(errkind.Unsupported, "a VM can enrol only on a TLS channel")
	}
	if err := s.limiter.Allow("host " + host); err != nil {
		return wire.Certificate{}, err
	}
	var out wire.Certificate
	var used Code
	var refused error
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		out, used, refused = wire.Certificate{}, Code{}, nil
		code, err := tx.GuestCode(r.Code)
		if absent(err) {
			refused = errCode
			return nil
		}
		if err != nil {
			return err
		}
		if refused, err = s.judge(ctx, tx, c, code, binding, r); err != nil || refused != nil {
			return err
		}
		vm, err := tx.GuestVM(code.VM)
		if err != nil && !absent(err) {
			return err
		}
		vm = VM{ID: code.VM, Name: code.Name, Generation: vm.Generation + 1}
		if err := tx.PutGuestVM(vm); err != nil {
			return err
		}
		if out, err = s.issue(tx, vm, r.Request); err != nil {
			return err
		}
		used = code
		return errors.Join(s.spend(tx, code),
			s.audit(ctx, tx, c, "vm enrolled", vm.ID, vm.Name, "ok", "from "+host))
	})
	if err != nil {
		return wire.Certificate{}, err
	}
	if refused != nil {
		return wire.Certificate{}, refused
	}
	// Of no use to anybody any more; Run tries again to take it away.
	if err := s.discard(ctx, used); err != nil {
		log.G(ctx).WithField(log.VM, used.Name).WithField(log.Err, err.Error()).Warn("a used invitation is still in the VM")
	}
	return out, nil
}

// judge says why a code does not let the caller in. What it notes of a wrong
// attempt must be kept, so a refusal is not an error of the transaction.
func (s *Service) judge(ctx context.Context, tx Tx, c volspec.Caller, code Code, binding []byte, r wire.Enroll) (refused, err error) {
	switch {
	case !s.o.Now().Before(code.Expires) || code.Attempts >= maxAttempts:
		return errCode, nil
	case invite.Verify(code.Verifier, binding, r.Request, r.Proof):
		return nil, nil
	}
	code.Attempts++
	err = tx.PutGuestCode(code)
	if err == nil && code.Attempts == maxAttempts {
		err = s.audit(ctx, tx, c, "vm enrolled", code.VM, code.Name, string(errkind.Denied), "too many wrong proofs: the code is dead")
	}
	return errCode, err
}

// issue makes a certificate of the VM's generation and records it.
func (s *Service) issue(tx Tx, vm VM, request []byte) (wire.Certificate, error) {
	now := s.o.Now()
	cert, err := s.o.Authority.issue(request, vm.ID, now, s.o.Life)
	if err != nil {
		return wire.Certificate{}, err
	}
	// Of those that were never used nobody needs to be told from the others.
	all, err := tx.GuestCertificates(vm.ID)
	if err != nil {
		return wire.Certificate{}, err
	}
	for _, old := range all {
		if !old.Used {
			if err := tx.DeleteGuestCertificate(old.Serial); err != nil {
				return wire.Certificate{}, err
			}
		}
	}
	record := Certificate{Serial: serial(cert), VM: vm.ID, Generation: vm.Generation, Issued: now.UTC(), Expires: cert.NotAfter.UTC()}
	if err := tx.PutGuestCertificate(record); err != nil {
		return wire.Certificate{}, err
	}
	return wire.Certificate{
		Certificate: cert.Raw, Authority: s.o.Authority.own.Certificate().Raw, Name: vm.Name,
		Expires: record.Expires, RenewAfter: now.Add(s.o.Life * 2 / 3).UTC().Truncate(time.Second),
	}, nil
}

func serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// Renew issues a new certificate to a VM that is on a channel with a good one:
// the certificates of its connection are chain (none: unsupported). The old
// one is good until the new one is first used.
func (s *Service) Renew(ctx context.Context, c volspec.Caller, chain []*x509.Certificate, r wire.Renew) (wire.Certificate, error) {
	if len(chain) == 0 {
		return wire.Certificate{}, errkind.New(errkind.Unsupported, "this channel needs no certificate: there is none to renew")
	}
	if err := s.limiter.Allow("vm " + string(c.VM)); err != nil {
		return wire.Certificate{}, err
	}
	var out wire.Certificate
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		// Between the look at the request and here it may have been revoked.
		vm, cert, refused, err := s.look(tx, chain)
		if err != nil || refused != nil {
			return errors.Join(err, refused)
		}
		if cert.Replaced {
			return again(vm, "was replaced by a newer one")
		}
		if out, err = s.issue(tx, vm, r.Request); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, "vm renewed", vm.ID, vm.Name, "ok", "")
	})
	return out, err
}
