package vsphere

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	// buildRecords is the folder of the records of VMs that are being made, on
	// the datastore of each. It is none of a vmgroup: their ids are UUIDs.
	buildRecords = layout.Root + "/machines"
	// forsaken is the age at which the making of a VM is one that nobody goes on
	// with. A repeat under the same name takes over at once.
	forsaken = 48 * time.Hour
	// razing is how long removing what is left may take.
	razing = 2 * time.Minute
	// hasRun is a setting that a host writes when a VM is first powered on.
	hasRun = "sched.swap.derivedname"
	// builtBy is a setting of a VM: the deed that made it.
	builtBy = "mooring.built"
)

// buildRecord tells what belongs to a VM that is being made. It is written
// before anything of the VM, and removed when the VM is whole: as long as it is
// there, what it names is nobody's. Its folders have names that nobody else
// gives.
type buildRecord struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Begun   time.Time `json:"begun"`
	VMX     string    `json:"vmx"`     // of the VM, as vSphere writes it
	Folders []string  `json:"folders"` // with its files, as vSphere writes them
}

func (r buildRecord) file() string { return path.Join(buildRecords, r.ID+".json") }

// ours reports whether it can be one that we wrote.
func (r buildRecord) ours() bool {
	if !hypervisor.ValidID(r.ID) || len(r.ID) < 8 || len(r.Folders) == 0 {
		return false
	}
	return !slices.ContainsFunc(append(slices.Clone(r.Folders), path.Dir(r.VMX)), func(at string) bool {
		_, folder, ok := vcenter.SplitPath(at)
		return !ok || strings.Contains(folder, "/") || !strings.HasSuffix(folder, "-"+r.ID[:8])
	})
}

// beginMachine removes what an earlier try has left, checks that the VM can be
// made, and writes the record. Nobody else in this process makes a VM of that
// name until end is called. If there is nothing to do it is done already.
func (v *VSphere) beginMachine(ctx context.Context, c *construction) (done volspec.VMID, end func(), err error) {
	if _, making := v.making.LoadOrStore(c.Name, true); making {
		return "", nil, errkind.New(errkind.InUse, "VM %s is being made already: wait for it, or choose another name", c.Name)
	}
	end = func() { v.making.Delete(c.Name) }
	done, err = v.earlier(ctx, c)
	if err == nil && done == "" {
		err = v.foundation(ctx, c)
	}
	if err != nil || done != "" {
		end()
		return done, nil, err
	}
	return "", end, nil
}

// earlier is the VM that was made by the same deed, if there is one. Another of
// that name: exists.
func (v *VSphere) earlier(ctx context.Context, c *construction) (volspec.VMID, error) {
	if err := v.sweepMachines(ctx, c); err != nil {
		return "", err
	}
	vms, err := v.inv.VMs(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(vms, func(m vcenter.VM) bool { return m.Name == c.Name })
	if i < 0 {
		return "", nil
	}
	now, err := v.now(ctx, c.what(), vms[i])
	if err != nil {
		return "", err
	}
	if c.ID != "" && now.extra[builtBy] == c.ID {
		return volspec.VMID(vms[i].ID), nil
	}
	return "", errkind.New(errkind.Exists, "a VM %s exists already: choose another name", c.Name)
}

func (v *VSphere) foundation(ctx context.Context, c *construction) error {
	if err := v.site(ctx, c); err != nil {
		return err
	}
	data, err := json.Marshal(c.record)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "%s", c.what())
	}
	if err := v.c.Files().MakeFolder(ctx, c.home, buildRecords); err != nil {
		return err
	}
	err = v.c.Files().Put(ctx, c.home, c.record.file(), bytes.NewReader(data), int64(len(data)))
	if err == nil {
		return nil
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	return errors.Join(err, v.forgetBuild(end, c.home, c.record))
}

// sweepMachines removes half-made VMs on the datastore: of that name, and old
// ones.
func (v *VSphere) sweepMachines(ctx context.Context, c *construction) error {
	ds, err := v.inv.Datastore(ctx, c.home)
	if err != nil {
		return err
	}
	found, err := v.search(ctx, ds, buildRecords, "*.json", false)
	if err != nil {
		return err
	}
	for _, folder := range found {
		for _, file := range folder.File {
			data, err := v.read(ctx, c.home, path.Join(buildRecords, path.Base(file.GetFileInfo().Path)), maxMeta)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			var r buildRecord
			if err != nil || json.Unmarshal(data, &r) != nil || !r.ours() {
				continue
			}
			if _, making := v.making.Load(r.Name); r.Name != c.Name && (making || time.Since(r.Begun) < forsaken) {
				continue
			}
			if err := v.raze(ctx, c.home, r); err != nil {
				if r.Name == c.Name {
					return err
				}
				log.G(ctx).WithField(log.Err, err.Error()).Warn("what is left of a VM that was not made cannot be removed")
			}
		}
	}
	return nil
}

// raze removes a half-made VM, whatever has become of ctx. One that somebody has
// powered on meanwhile stays: it is theirs now.
func (v *VSphere) raze(ctx context.Context, home string, r buildRecord) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), razing)
	defer cancel()
	ref, err := v.machineAt(ctx, r.VMX)
	if err != nil {
		return err
	}
	if ref != nil {
		used, err := v.destroy(ctx, r, *ref)
		if err != nil {
			return err
		}
		if used {
			return v.forgetBuild(ctx, home, r)
		}
	}
	var failed error
	for _, at := range r.Folders {
		datastore, folder, _ := vcenter.SplitPath(at)
		for _, disk := range v.filesIn(ctx, datastore, folder, "*.vmdk") {
			failed = errors.Join(failed, v.removeDisk(ctx, vcenter.Path(datastore, disk)))
		}
		failed = errors.Join(failed, v.c.Files().Delete(ctx, datastore, folder))
	}
	if failed != nil {
		return failed
	}
	return v.forgetBuild(ctx, home, r)
}

// destroy removes a VM with its disks, unless it was ever on.
func (v *VSphere) destroy(ctx context.Context, r buildRecord, ref types.ManagedObjectReference) (used bool, err error) {
	what := "removing VM " + r.Name + ", which was not completed"
	m := vcenter.VM{Ref: ref, Name: r.Name}
	now, err := v.now(ctx, what, m)
	if err != nil {
		return false, err
	}
	var vm mo.VirtualMachine
	err = v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, ref, []string{"runtime.powerState"}, &vm)
	})
	if err != nil {
		return false, err
	}
	if now.used(vm.Runtime.PowerState) {
		return true, nil
	}
	err = v.destroyVM(ctx, what, ref)
	if vcenter.Lost(err) {
		if ref, again := v.machineAt(ctx, r.VMX); again == nil && ref == nil {
			return false, nil
		}
	}
	return false, err
}

// forgetBuild removes the record.
func (v *VSphere) forgetBuild(ctx context.Context, home string, r buildRecord) error {
	err := v.c.Files().Delete(ctx, home, r.file())
	if vcenter.Lost(err) && ctx.Err() == nil {
		err = v.c.Files().Delete(ctx, home, r.file())
	}
	return err
}
