package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// construction is a VM that is being made.
type construction struct {
	hypervisor.MachineBuild
	config machineConfig
	home   string // the datastore of its own files
	disks  []constructionDisk
	record buildRecord
	host   vcenter.Host
}

type constructionDisk struct {
	diskConfig
	at string // as vSphere writes it
}

func (c *construction) what() string { return "making VM " + c.Name }

// BuildMachine implements hypervisor.MachineImager. The disks are made and filled
// first, in folders that are the new VM's; the VM appears when all are there. A
// record on its datastore tells of what a crash has left, see halfmade.go.
func (v *VSphere) BuildMachine(ctx context.Context, b hypervisor.MachineBuild, fill func(ctx context.Context, key string, to image.Target) error) (volspec.VMID, error) {
	c, err := v.plan(ctx, b)
	if err != nil {
		return "", err
	}
	done, end, err := v.beginMachine(ctx, c)
	if err != nil || done != "" {
		return done, err
	}
	defer end()
	id, err := v.construct(ctx, c, fill)
	if err != nil {
		return "", errors.Join(err, v.raze(ctx, c.home, c.record))
	}
	return id, nil
}

// plan checks what can be known before anything is written.
func (v *VSphere) plan(ctx context.Context, b hypervisor.MachineBuild) (*construction, error) {
	cannot := func(err error) error {
		return errkind.Wrap(errkind.Of(err), err, "VM %q cannot be made: its configuration: %s", b.Name, errkind.Text(err))
	}
	config, err := parseConfig(b.Config)
	if err != nil {
		return nil, cannot(err)
	}
	if n := len(b.Name); n == 0 || n > 80 || strings.ContainsFunc(b.Name, unicode.IsControl) {
		return nil, errkind.New(errkind.Invalid, "name %q of a VM is not valid: it must have between 1 and 80 bytes, none of them a control character", b.Name)
	}
	c := &construction{MachineBuild: b, config: config, home: config.Datastore}
	if b.Datastore != "" {
		c.home = b.Datastore
	}
	id := uuid.NewString()
	c.record = buildRecord{ID: id, Name: b.Name, Begun: time.Now().UTC(), VMX: vcenter.Path(c.home, path.Join(folderOf(b.Name, id), fileName(b.Name)+".vmx"))}
	c.record.Folders = append(c.record.Folders, vcenter.Path(c.home, folderOf(b.Name, id)))
	for i, d := range b.Disks {
		if err := hypervisor.CheckSize(d.Size); err != nil {
			return nil, err
		}
		was, ok := config.disk(d.Key)
		if !ok || slices.ContainsFunc(b.Disks[:i], func(o hypervisor.MachineDisk) bool { return o.Key == d.Key }) {
			return nil, cannot(errkind.New(errkind.Invalid, "it has no disk %s, or has it twice", d.Key))
		}
		was.Size = hypervisor.RoundUp(d.Size, volspec.KiB)
		if b.Datastore != "" {
			was.Datastore = b.Datastore
		}
		name := fileName(b.Name)
		if i > 0 {
			name = fmt.Sprintf("%s_%d", name, i)
		}
		folder := folderOf(b.Name, id)
		c.disks = append(c.disks, constructionDisk{was, vcenter.Path(was.Datastore, path.Join(folder, name+".vmdk"))})
		if at := vcenter.Path(was.Datastore, folder); !slices.Contains(c.record.Folders, at) {
			c.record.Folders = append(c.record.Folders, at)
		}
	}
	return c, nil
}

// folderOf is the folder of a VM: no other has it, whatever became of it.
func folderOf(name, id string) string { return fileName(name) + "-" + id[:8] }

// fileName is what of a name can be part of the name of a file.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_ ()", r) {
			return r
		}
		return '_'
	}, name)
	name = strings.Trim(name[:min(len(name), 60)], " -")
	if name == "" {
		return "vm"
	}
	return name
}

// site checks that there is room for a VM and a folder, and chooses its host: the
// one that is asked for, or the first that reaches all datastores.
func (v *VSphere) site(ctx context.Context, c *construction) error {
	if _, err := v.folderFor(ctx, c); err != nil {
		return err
	}
	need := map[string]volspec.Size{c.home: 0}
	for _, d := range c.disks {
		need[d.Datastore] += d.Size
	}
	var refs []types.ManagedObjectReference
	for _, name := range slices.Sorted(maps.Keys(need)) {
		ds, err := v.inv.Datastore(ctx, name)
		if err != nil {
			return err
		}
		if s := v.store(ds); s.State != hypervisor.Online {
			return errkind.New(errkind.Unavailable, "VM %s cannot be made: datastore %q is %s: %s; bring it back and repeat", c.Name, name, s.State, s.Detail)
		}
		// Disks are sent whole, whatever of them is zeros.
		if need[name] > volspec.Size(ds.Free) {
			return errkind.New(errkind.Quota, "VM %s cannot be made: its disks need %s on datastore %q, and %s are free; free space on it or choose another", c.Name, need[name], name, volspec.Size(ds.Free))
		}
		refs = append(refs, ds.Ref)
	}
	hosts, err := v.inv.Hosts(ctx)
	if err != nil {
		return err
	}
	why := "no host is connected, not in maintenance, and reaches all datastores that it needs"
	for _, h := range hosts {
		if c.Host != "" && h.Name != c.Host {
			continue
		}
		if canRun(h, refs...) {
			c.host = h
			return nil
		}
		if c.Host != "" {
			return errkind.New(errkind.Unavailable, "VM %s cannot be made: host %s is not connected, is in maintenance, or does not reach all datastores that it needs; choose another", c.Name, c.Host)
		}
	}
	if c.Host != "" {
		return errkind.New(errkind.NotFound, "VM %s cannot be made: there is no host %s; see the list of hosts", c.Name, c.Host)
	}
	return errkind.New(errkind.Unavailable, "VM %s cannot be made: %s; bring one back, or choose other datastores", c.Name, why)
}

// construct makes the VM. After an error some of it may be there.
func (v *VSphere) construct(ctx context.Context, c *construction, fill func(ctx context.Context, key string, to image.Target) error) (volspec.VMID, error) {
	for _, at := range c.record.Folders {
		datastore, folder, _ := vcenter.SplitPath(at)
		if err := v.c.Files().MakeFolder(ctx, datastore, folder); err != nil {
			return "", err
		}
	}
	for _, d := range c.disks {
		to := blank{what: fmt.Sprintf("%s of VM %s", d.Label, c.Name), at: d.at, size: d.Size, format: d.Format}
		err := v.fill(ctx, to, func(ctx context.Context, t image.Target) error { return fill(ctx, d.Key, t) })
		if err != nil {
			return "", err
		}
	}
	crashpoint.Here("vsphere.machine.filled")
	spec, err := v.machineSpec(ctx, c)
	if err != nil {
		return "", err
	}
	ref, err := v.createMachine(ctx, c, spec)
	if err != nil {
		return "", err
	}
	crashpoint.Here("vsphere.machine.created")
	var vm mo.VirtualMachine
	err = v.c.Read(ctx, c.what(), func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, ref, []string{"config.instanceUuid"}, &vm)
	})
	if err == nil && (vm.Config == nil || vm.Config.InstanceUuid == "") {
		err = errkind.New(errkind.Unavailable, "%s: vCenter cannot read the configuration of the VM now; repeat it", c.what())
	}
	if err != nil {
		return "", err
	}
	v.tag(ctx, c, ref)
	// From here on it is nobody's leftover.
	return volspec.VMID(strings.ToLower(vm.Config.InstanceUuid)), v.forgetBuild(ctx, c.home, c.record)
}

// tag gives the VM its tags, as far as they are there.
func (v *VSphere) tag(ctx context.Context, c *construction, ref types.ManagedObjectReference) {
	if len(c.config.Tags) == 0 {
		return
	}
	missing, err := v.c.PutTags(ctx, ref, c.config.Tags)
	switch l := log.G(ctx).WithField(log.VM, c.Name); {
	case err != nil:
		l.WithField(log.Err, err.Error()).Warn("a new VM could not be given its tags")
	case len(missing) > 0:
		l.WithField("missing", missing).Warn("a new VM did not get all of its tags: some are not there")
	}
}

// creation is how long making a VM of disks that are there may take.
const creation = 5 * time.Minute

// createMachine makes the VM of its disks. When the answer is lost it is looked
// for at its place. What was begun is waited for, whatever has become of ctx: the
// VM would appear afterwards.
func (v *VSphere) createMachine(ctx context.Context, c *construction, spec types.VirtualMachineConfigSpec) (types.ManagedObjectReference, error) {
	if ctx.Err() != nil {
		return types.ManagedObjectReference{}, vcenter.Translate(context.Cause(ctx), c.what())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), creation)
	defer cancel()
	folder, err := v.folderFor(ctx, c)
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	ref, err := v.createVM(ctx, c.what(), folder, c.host.Ref, spec)
	if vcenter.Lost(err) {
		if ref, again := v.machineAt(ctx, c.record.VMX); again == nil && ref != nil {
			return *ref, nil
		}
	}
	return ref, err
}

// folderFor is the folder for a new VM.
func (v *VSphere) folderFor(ctx context.Context, c *construction) (ref types.ManagedObjectReference, err error) {
	if c.Folder != "" {
		found, err := v.inv.Folder(ctx, c.Folder)
		return found.Ref, errkind.Wrap(errkind.Of(err), err, "%s", c.what())
	}
	return v.folderOfVMs(ctx, c.what())
}

// folderOfVMs is the datacenter's folder of all VMs.
func (v *VSphere) folderOfVMs(ctx context.Context, what string) (ref types.ManagedObjectReference, err error) {
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return ref, err
	}
	err = v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		ref, err = vmFolder(ctx, vc, dc.Reference())
		return err
	})
	return ref, err
}

// machineAt is the VM whose own file is at a place, nil when there is none.
func (v *VSphere) machineAt(ctx context.Context, vmx string) (ref *types.ManagedObjectReference, err error) {
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return nil, err
	}
	err = v.c.Read(ctx, "looking for the VM of "+vmx, func(ctx context.Context, vc *vim25.Client) error {
		ref = nil
		found, err := object.NewSearchIndex(vc).FindByDatastorePath(ctx, dc, vmx)
		if err == nil && found != nil {
			r := found.Reference()
			ref = &r
		}
		return err
	})
	return ref, err
}
