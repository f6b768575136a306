package catalog

import (
	"context"
	"encoding/hex"
	"time"

	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ enroll.Tx = (*tx)(nil)

// Enrolment is the catalog as the enrolment service sees it.
func (c *Catalog) Enrolment() enroll.Store { return enrolment{c} }

type enrolment struct{ c *Catalog }

func (e enrolment) View(ctx context.Context, fn func(enroll.Tx) error) error {
	return e.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (e enrolment) Update(ctx context.Context, fn func(enroll.Tx) error) error {
	return e.c.update(ctx, func(t *tx) error { return fn(t) })
}

const guestVMCols = "vm, name, generation, revoked, refused, refused_at"

func scanGuestVM(s scanner) (v enroll.VM, err error) {
	var refused int64
	err = s.Scan(&v.ID, &v.Name, &v.Generation, &v.Revoked, &v.Refused, &refused)
	v.RefusedAt = toTime(refused)
	return v, err
}

func (t *tx) GuestVM(vm volspec.VMID) (enroll.VM, error) {
	v, found, err := one(t, scanGuestVM, "SELECT "+guestVMCols+" FROM guest_vms WHERE vm = ?", vm)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "VM %s never enrolled", vm)
	}
	return v, err
}

func (t *tx) GuestVMs() ([]enroll.VM, error) {
	return list(t, scanGuestVM, "SELECT "+guestVMCols+" FROM guest_vms ORDER BY vm")
}

func (t *tx) PutGuestVM(v enroll.VM) error {
	_, err := t.exec(upsert("guest_vms", guestVMCols, "vm"), v.ID, v.Name, v.Generation, v.Revoked, v.Refused, fromTime(v.RefusedAt))
	return err
}

const guestCertCols = "serial, vm, generation, issued, expires, used, replaced"

func scanGuestCert(s scanner) (c enroll.Certificate, err error) {
	var issued, expires int64
	err = s.Scan(&c.Serial, &c.VM, &c.Generation, &issued, &expires, &c.Used, &c.Replaced)
	c.Issued, c.Expires = toTime(issued), toTime(expires)
	return c, err
}

func (t *tx) GuestCertificate(serial string) (enroll.Certificate, error) {
	c, found, err := one(t, scanGuestCert, "SELECT "+guestCertCols+" FROM guest_certificates WHERE serial = ?", serial)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "no certificate has the serial %s", serial)
	}
	return c, err
}

func (t *tx) GuestCertificates(vm volspec.VMID) ([]enroll.Certificate, error) {
	if vm == "" {
		return list(t, scanGuestCert, "SELECT "+guestCertCols+" FROM guest_certificates ORDER BY issued, serial")
	}
	return list(t, scanGuestCert, "SELECT "+guestCertCols+" FROM guest_certificates WHERE vm = ? ORDER BY issued, serial", vm)
}

// PutGuestCertificate needs the record of the VM.
func (t *tx) PutGuestCertificate(c enroll.Certificate) error {
	if _, err := t.GuestVM(c.VM); err != nil {
		return err
	}
	_, err := t.exec(upsert("guest_certificates", guestCertCols, "serial"), c.Serial, c.VM, c.Generation, fromTime(c.Issued), fromTime(c.Expires), c.Used, c.Replaced)
	return err
}

func (t *tx) DeleteGuestCertificate(serial string) error {
	_, err := t.exec("DELETE FROM guest_certificates WHERE serial = ?", serial)
	return err
}

func (t *tx) TrimGuestCertificates(before time.Time) error {
	_, err := t.exec("DELETE FROM guest_certificates WHERE expires < ?", fromTime(before))
	return err
}

const guestCodeCols = "vm, name, id, verifier, placed, expires, attempts"

func scanGuestCode(s scanner) (c enroll.Code, err error) {
	var verifier string
	var expires int64
	if err = s.Scan(&c.VM, &c.Name, &c.ID, &verifier, &c.Placed, &expires, &c.Attempts); err != nil {
		return c, err
	}
	c.Expires = toTime(expires)
	if c.Verifier, err = hex.DecodeString(verifier); err != nil {
		err = errkind.Wrap(errkind.Corrupt, err, "the catalog's record of a code for VM %s is damaged: make a new code", c.Name)
	}
	return c, err
}

func (t *tx) GuestCode(id string) (enroll.Code, error) {
	c, found, err := one(t, scanGuestCode, "SELECT "+guestCodeCols+" FROM guest_codes WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "no code has the id %s", id)
	}
	return c, err
}

func (t *tx) GuestCodes() ([]enroll.Code, error) {
	return list(t, scanGuestCode, "SELECT "+guestCodeCols+" FROM guest_codes ORDER BY vm")
}

func (t *tx) PutGuestCode(c enroll.Code) error {
	_, err := t.exec(upsert("guest_codes", guestCodeCols, "vm"), c.VM, c.Name, c.ID, hex.EncodeToString(c.Verifier), c.Placed, fromTime(c.Expires), c.Attempts)
	return err
}

func (t *tx) DeleteGuestCode(vm volspec.VMID) error {
	_, err := t.exec("DELETE FROM guest_codes WHERE vm = ?", vm)
	return err
}
