package memory

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// BuildMachine implements hypervisor.MachineImager.
func (m *Memory) BuildMachine(ctx context.Context, b hypervisor.MachineBuild, fill func(ctx context.Context, key string, to image.Target) error) (volspec.VMID, error) {
	c, done, err := m.buildable(ctx, b)
	if err != nil || done != "" {
		return done, err
	}
	v := &machine{VM: hypervisor.VM{ID: volspec.VMID(uuid.NewString()), Name: b.Name, Datastore: c.Datastore, Power: hypervisor.Off, Folder: cmp.Or(b.Folder, AllVMs)}, built: b.ID}
	need := map[string]volspec.Size{}
	for i, d := range b.Disks {
		if b.Datastore != "" {
			d.Datastore = b.Datastore
		}
		t := &target{size: int64(d.Size), c: content{}}
		if err := fill(ctx, d.Key, t); err != nil {
			return "", err
		}
		made := &machineDisk{MachineDisk: hypervisor.MachineDisk{Key: strconv.Itoa(2000 + i), Label: d.Label, Size: d.Size, Datastore: d.Datastore}, content: t.end(), epoch: uuid.NewString()}
		need[d.Datastore] += volspec.Size(made.bytes())
		v.disks = append(v.disks, made)
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if done, err := m.unnamed(b); err != nil || done != "" {
		return done, err
	}
	if err := m.there(b.Folder); err != nil {
		return "", err
	}
	for name, n := range need {
		if err := m.room(m.stores[name], n); err != nil {
			return "", err
		}
	}
	m.vms[v.ID] = v
	return v.ID, nil
}

// buildable checks what can be known before anything is written; done is the VM
// that is there already.
func (m *Memory) buildable(ctx context.Context, b hypervisor.MachineBuild) (c config, done volspec.VMID, err error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return c, "", err
	}
	defer unlock()
	if json.Unmarshal(b.Config, &c) != nil || c.Datastore == "" {
		return c, "", errkind.New(errkind.Invalid, "VM %s cannot be made: its configuration is not one of this hypervisor's", b.Name)
	}
	if b.Datastore != "" {
		c.Datastore = b.Datastore
	}
	stores := map[string]bool{c.Datastore: true}
	for _, d := range b.Disks {
		if err := hypervisor.CheckSize(d.Size); err != nil {
			return c, "", err
		}
		if b.Datastore == "" {
			stores[d.Datastore] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if _, err := m.store(name, true); err != nil {
			return c, "", err
		}
	}
	if err := m.there(b.Folder); err != nil {
		return c, "", err
	}
	done, err = m.unnamed(b)
	return c, done, err
}

// there checks that a new VM can be put into a folder.
func (m *Memory) there(f volspec.Folder) error {
	if f != "" && !m.folders[f] {
		return errkind.New(errkind.NotFound, "no folder %s for the new VM: leave it out, or make it again", f)
	}
	return nil
}

// unnamed checks that a name is free for a new VM.
// unnamed checks that no VM has the name; one that was made under the same ID is
// done.
func (m *Memory) unnamed(b hypervisor.MachineBuild) (done volspec.VMID, err error) {
	for _, v := range m.vms {
		switch {
		case v.Name != b.Name:
		case b.ID != "" && v.built == b.ID:
			return v.ID, nil
		default:
			return "", errkind.New(errkind.Exists, "a VM %s exists already: choose another name", b.Name)
		}
	}
	return "", nil
}

// BuildMachineDisk implements hypervisor.MachineImager.
func (m *Memory) BuildMachineDisk(ctx context.Context, vm volspec.VMID, key string, size volspec.Size, fill func(ctx context.Context, to image.Target) error) (string, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	_, err = m.replaceableDisk(vm, key, size)
	unlock()
	if err != nil {
		return "", err
	}
	t := &target{size: int64(size), c: content{}}
	err = fill(ctx, t)
	built := t.end()
	if err != nil {
		return "", err
	}
	if unlock, err = m.lock(ctx); err != nil {
		return "", err
	}
	defer unlock()
	d, err := m.replaceableDisk(vm, key, size)
	if err != nil {
		return "", err
	}
	if err := m.room(m.stores[d.Datastore], volspec.Size(built.bytes())); err != nil {
		return "", err
	}
	d.content, d.Size, d.epoch, d.past = built, size, uuid.NewString(), nil
	return fmt.Sprintf("[%s] %s/%s-replaced-%s", d.Datastore, m.name(vm), key, uuid.NewString()), nil
}

func (m *Memory) replaceableDisk(vm volspec.VMID, key string, size volspec.Size) (*machineDisk, error) {
	if err := hypervisor.CheckSize(size); err != nil {
		return nil, err
	}
	v, err := m.machine(vm)
	if err != nil {
		return nil, err
	}
	d := v.disk(key)
	switch {
	case d == nil:
		return nil, errkind.New(errkind.NotFound, "VM %s has no disk %s", v.Name, key)
	case v.Power != hypervisor.Off:
		return nil, errkind.New(errkind.InUse, "%s of VM %s cannot be replaced while the VM is %s: power it off and repeat", d.Label, v.Name, v.Power)
	case v.foreign != "":
		return nil, errkind.New(errkind.InUse, "%s of VM %s cannot be replaced while the VM has snapshot %s: remove that first", d.Label, v.Name, v.foreign)
	case len(v.frozen) > 0:
		return nil, errkind.New(errkind.InUse, "%s of VM %s cannot be replaced while the VM has snapshot %s: wait until its backup has ended", d.Label, v.Name, slices.Sorted(maps.Keys(v.frozen))[0])
	}
	_, err = m.store(d.Datastore, true)
	return d, err
}
