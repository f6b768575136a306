package enroll

import (
	"context"
	"encoding/json"
	"errors"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Invite makes a one-time code for the VM called name, which may be its id. It
// replaces a code the VM had before; certificates stay good until the code is
// used. With place the hypervisor puts the code into the VM, and the answer is
// without it. No channel for VMs, or no such ability: unsupported.
func (s *Service) Invite(ctx context.Context, c volspec.Caller, name string, place bool) (wire.Invitation, error) {
	if s.o.URL() == "" {
		return wire.Invitation{}, errkind.New(errkind.Unsupported, "VMs cannot enrol: mooringd has no TLS channel for them; set guest.listen in its configuration")
	}
	if place && s.o.GuestInfo == nil {
		return wire.Invitation{}, errkind.New(errkind.Unsupported, "a code cannot be placed in VM %s: its hypervisor has no way to; leave out --guestinfo and carry the code there", name)
	}
	vm, err := s.machine(ctx, name)
	if err != nil {
		return wire.Invitation{}, err
	}
	return s.invite(ctx, c, vm, place)
}

func (s *Service) invite(ctx context.Context, c volspec.Caller, vm hypervisor.VM, place bool) (wire.Invitation, error) {
	code := invite.New()
	in := invite.Invitation{URL: s.o.URL(), CA: s.o.Authority.Pin().String(), Code: code.Reveal(), Expires: s.o.Now().Add(CodeLife).UTC()}
	// A verifier without its code in the VM is harmless, the reverse is not:
	// the record also says what to take out of the VM again.
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		old, err := s.codeOf(tx, vm.ID)
		if err != nil {
			return err
		}
		err = tx.PutGuestCode(Code{VM: vm.ID, Name: vm.Name, ID: code.ID(), Verifier: code.Verifier(), Placed: place || old.Placed, Expires: in.Expires})
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, c, "vm enroll", vm.ID, vm.Name, "ok", "a code was made")
	})
	if err != nil {
		return wire.Invitation{}, err
	}
	out := wire.Invitation{VM: vm.ID, Name: vm.Name, URL: in.URL, CA: in.CA, Expires: in.Expires, Placed: place}
	if !place {
		out.Code = in.Code
		return out, nil
	}
	text, err := json.Marshal(in)
	if err != nil {
		return wire.Invitation{}, errkind.Wrap(errkind.Internal, err, "invitation")
	}
	return out, s.o.GuestInfo.PutGuestInfo(ctx, vm.ID, invite.Key, string(text))
}

// codeOf is the open code of a VM, the zero code if there is none.
func (s *Service) codeOf(tx Tx, vm volspec.VMID) (Code, error) {
	all, err := tx.GuestCodes()
	if err != nil {
		return Code{}, err
	}
	for _, c := range all {
		if c.VM == vm {
			return c, nil
		}
	}
	return Code{}, nil
}

// machine finds a VM by name or id.
func (s *Service) machine(ctx context.Context, name string) (hypervisor.VM, error) {
	all, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return hypervisor.VM{}, err
	}
	var found []hypervisor.VM
	for _, vm := range all {
		if string(vm.ID) == name {
			return vm, nil
		}
		if vm.Name == name {
			found = append(found, vm)
		}
	}
	switch len(found) {
	case 0:
		return hypervisor.VM{}, errkind.New(errkind.NotFound, "VM %s not found: see mooring vm ls", name)
	case 1:
		return found[0], nil
	}
	return hypervisor.VM{}, errkind.New(errkind.Invalid, "%d VMs are called %s: give the uuid of the one you mean, see mooring vm ls", len(found), name)
}

// Revoke ends all certificates and codes of the VM called name, which may be
// its id, at once. A VM that the hypervisor has forgotten goes by the name it
// enrolled with. Repeated: nil. One that never enrolled: not-found.
func (s *Service) Revoke(ctx context.Context, c volspec.Caller, name string) error {
	vm, err := s.machine(ctx, name)
	if err != nil && !absent(err) {
		return err
	}
	known := err == nil
	var code Code
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.GuestVMs()
		if err != nil {
			return err
		}
		var target []VM
		for _, v := range all {
			if v.ID == vm.ID || !known && (v.Name == name || string(v.ID) == name) {
				target = append(target, v)
			}
		}
		if len(target) == 0 && known {
			if code, err = s.codeOf(tx, vm.ID); err != nil {
				return err
			}
			if code.ID != "" {
				target = append(target, VM{ID: vm.ID, Name: vm.Name})
			}
		}
		switch {
		case len(target) == 0:
			return errkind.New(errkind.NotFound, "VM %s has no certificate and no code: see mooring vm ls", name)
		case len(target) > 1:
			return errkind.New(errkind.Invalid, "%d VMs were called %s: give the uuid of the one you mean", len(target), name)
		}
		v := target[0]
		if code, err = s.codeOf(tx, v.ID); err != nil {
			return err
		}
		v.Revoked, v.Refused = true, ""
		return errors.Join(tx.PutGuestVM(v), s.spend(tx, code), s.audit(ctx, tx, c, "vm revoke", v.ID, v.Name, "ok", ""))
	})
	if err != nil {
		return err
	}
	return s.discard(ctx, code)
}

// spend ends a code, if there is one. The record of one that lies in a VM
// stays until discard has taken it out of there.
func (s *Service) spend(tx Tx, c Code) error {
	if !c.Placed {
		return tx.DeleteGuestCode(c.VM)
	}
	c.Expires = s.o.Now().UTC()
	return tx.PutGuestCode(c)
}

// discard takes a code that has ended out of its VM, if it lies there, and
// forgets it.
func (s *Service) discard(ctx context.Context, c Code) error {
	if c.Placed && s.o.GuestInfo != nil {
		// With a VM that is gone went what was in it.
		if err := s.o.GuestInfo.PutGuestInfo(ctx, c.VM, invite.Key, ""); err != nil && !absent(err) {
			return err
		}
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if now, err := s.codeOf(tx, c.VM); err != nil || now.ID != c.ID {
			return err // there is a newer one
		}
		return tx.DeleteGuestCode(c.VM)
	})
}
