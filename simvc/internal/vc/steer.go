package vc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// retry runs a task of a machine that may be busy with another one.
func (s *Server) retry(ctx context.Context, start func() (*object.Task, error)) error {
	for {
		t, err := start()
		if err == nil {
			if _, fault := inner(s.ctx(), t.Reference()); fault != nil {
				return fmt.Errorf("%T", fault)
			}
			return nil
		}
		if !isBusy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Server) object(name string) (*simulator.VirtualMachine, *object.VirtualMachine, error) {
	vm, err := s.byName(name)
	if err != nil {
		return nil, nil, err
	}
	return vm, object.NewVirtualMachine(s.vim, vm.Self), nil
}

// Power switches a machine on or off.
func (s *Server) Power(ctx context.Context, name string, on bool) error {
	vm, m, err := s.object(name)
	if err != nil {
		return err
	}
	if s.isOn(vm.Self) == on {
		return nil
	}
	return s.retry(ctx, func() (*object.Task, error) {
		if on {
			return m.PowerOn(ctx)
		}
		return m.PowerOff(ctx)
	})
}

// AddVM makes a machine and switches it on.
func (s *Server) AddVM(ctx context.Context, name, host, datastore string) error {
	index := -1
	for i, h := range s.hosts() {
		if host == "" || h.Name == host {
			index = i
			break
		}
	}
	if index < 0 {
		return fmt.Errorf("there is no host %q", host)
	}
	if datastore == "" {
		datastore = s.stores[0].name
	}
	if _, err := s.byName(name); err == nil {
		return fmt.Errorf("there is a vm %q already", name)
	}
	if _, err := s.addVM(name, index, datastore); err != nil {
		return err
	}
	return s.Power(ctx, name, true)
}

// RemoveVM destroys a machine, running or not.
func (s *Server) RemoveVM(ctx context.Context, name string) error {
	if err := s.Power(ctx, name, false); err != nil {
		return err
	}
	_, m, err := s.object(name)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() (*object.Task, error) { return m.Destroy(ctx) })
}

// Snapshot takes a snapshot of a machine, without its memory.
func (s *Server) Snapshot(ctx context.Context, vm, name string) error {
	_, m, err := s.object(vm)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() (*object.Task, error) { return m.CreateSnapshot(ctx, name, "", false, false) })
}

// RevertVM takes a machine back to a snapshot.
func (s *Server) RevertVM(ctx context.Context, vm, name string) error {
	_, m, err := s.object(vm)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() (*object.Task, error) { return m.RevertToSnapshot(ctx, name, true) })
}

// RemoveSnapshot ends a snapshot of a machine.
func (s *Server) RemoveSnapshot(ctx context.Context, vm, name string) error {
	_, m, err := s.object(vm)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() (*object.Task, error) { return m.RemoveSnapshot(ctx, name, false, nil) })
}

// ResetCBT begins a new generation of tracking, of a machine or of a
// first-class disk: a host that crashed.
func (s *Server) ResetCBT(id string) error {
	s.mu.Lock()
	if f := s.fcds[id]; f != nil {
		f.Tracking.reset()
		s.saveFCD(f)
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	vm, err := s.byName(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, t := range s.machine(vm.Self).Track {
		t.reset()
	}
	s.mu.Unlock()
	s.changed(vm)
	return nil
}

func isBusy(err error) bool { return faultIs[*types.TaskInProgress](err) }
