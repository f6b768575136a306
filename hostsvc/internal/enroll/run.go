package enroll

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// tidyEvery is the time between two looks at codes and VMs.
const tidyEvery = 15 * time.Second

// maxPlacements is how often a VM that does not answer is invited by itself
// in one boot.
const maxPlacements = 3

// placement counts invitations of one boot of a VM.
type placement struct {
	boot string
	n    int
}

// system is who acts without being asked.
var system = volspec.Caller{Actor: "mooringd"}

// Run takes away codes that have expired and invites the VMs that have no
// certificate, where that is wanted, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		if err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("invitations of VMs could not be looked after")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Tidy is one round of Run.
func (s *Service) Tidy(ctx context.Context) error {
	if err := s.expire(ctx); err != nil {
		return err
	}
	if s.o.GuestInfo == nil || s.o.URL() == "" || !s.o.Auto() {
		return nil
	}
	return s.inviteAll(ctx)
}

// expire removes codes that can no longer be used, from the VMs first.
func (s *Service) expire(ctx context.Context) error {
	var old []Code
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.GuestCodes()
		old = nil
		for _, c := range all {
			if !s.o.Now().Before(c.Expires) {
				old = append(old, c)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range old {
		if err := s.discard(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// inviteAll places codes in the running VMs of vmgroups that have neither a
// certificate nor a code. One that was revoked or refused waits for a person.
func (s *Service) inviteAll(ctx context.Context) error {
	machines, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return err
	}
	var wanting []hypervisor.VM
	err = s.o.Store.View(ctx, func(tx Tx) error {
		wanting = nil
		has, err := s.settled(tx)
		if err != nil {
			return err
		}
		members, err := tx.Members("")
		if err != nil {
			return err
		}
		in := map[volspec.VMID]bool{}
		for _, m := range members {
			in[m.VM] = true
		}
		for _, vm := range machines {
			if vm.Power == hypervisor.On && in[vm.ID] && !has[vm.ID] {
				wanting = append(wanting, vm)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, vm := range wanting {
		p := s.placed[vm.ID]
		if p.boot != vm.BootID {
			p = placement{boot: vm.BootID}
		}
		if p.n == maxPlacements {
			continue
		}
		p.n++
		s.placed[vm.ID] = p
		if _, err := s.invite(ctx, system, vm, true); err != nil {
			log.G(ctx).WithField(log.VM, vm.Name).WithField(log.Err, err.Error()).Warn("a VM could not be invited to enrol")
		}
	}
	return nil
}

// settled are the VMs that need no invitation, or must not have one.
func (s *Service) settled(tx Tx) (map[volspec.VMID]bool, error) {
	has := map[volspec.VMID]bool{}
	vms, err := tx.GuestVMs()
	if err != nil {
		return nil, err
	}
	generation := map[volspec.VMID]int64{}
	for _, v := range vms {
		generation[v.ID] = v.Generation
		has[v.ID] = v.Revoked || v.Refused != ""
	}
	codes, err := tx.GuestCodes()
	if err != nil {
		return nil, err
	}
	for _, c := range codes {
		has[c.VM] = true
	}
	certs, err := tx.GuestCertificates("")
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if c.Generation == generation[c.VM] && s.o.Now().Before(c.Expires) {
			has[c.VM] = true
		}
	}
	return has, nil
}
