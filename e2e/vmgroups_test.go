package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// Texts that scripts and people know.
const (
	noAccess     = "No access privilege exists"
	noCreate     = "No create privilege"
	noDelete     = "No delete privilege"
	tooLarge     = "Volume size exceeds the max volume size limit"
	overQuota    = "The total volume size exceeds the usage quota"
	noGroup      = "does not belong to any vmgroup"
	notDefault   = "This feature is not supported for vmgroup _DEFAULT."
	noSuchVolume = "such volume"
)

// admin runs the command line and wants this first line of output.
func (s *site) admin(t *testing.T, want string, args ...string) {
	t.Helper()
	out := s.Mooring(t.Context(), args...).OK(t).Stdout
	require.True(t, strings.HasPrefix(out, want), "mooring %s: want %q, got:\n%s", strings.Join(args, " "), want, out)
}

// group makes a vmgroup that ends with the test, volumes and all.
func (s *site) group(t *testing.T, name, datastore string, vms ...string) {
	t.Helper()
	args := []string{"vmgroup", "create", "--name=" + name}
	if datastore != "" {
		args = append(args, "--default-datastore="+datastore)
	}
	if len(vms) > 0 {
		args = append(args, "--vm-list="+strings.Join(vms, ","))
	}
	s.admin(t, "vmgroup '"+name+"' is created.", args...)
	t.Cleanup(func() { s.dropGroup(cleanup(), name) })
}

func (s *site) dropGroup(ctx context.Context, name string) {
	s.Mooring(ctx, "vmgroup", "rm", "--name="+name, "--force", "--remove-volumes", "--yes")
}

// A volume inside a named vmgroup: created, used, invisible and unreachable
// from another vmgroup in every verb, deletable by its own.
func TestVMGroupIsolation(t *testing.T) {
	s := newSite(t)
	create(t, s.vm2, "common", "size=32mb") // of _DEFAULT
	s.group(t, "dev", "ds1", "vm1")

	require.Empty(t, listed(t, s.vm1), "the VM left _DEFAULT and its volumes behind")
	create(t, s.vm1, "common", "size=48mb") // the same name, another volume
	require.Equal(t, "dev", status(t, s.vm1, "common")["vmgroup"])
	require.Equal(t, "_DEFAULT", status(t, s.vm2, "common")["vmgroup"])
	sh(t, s.vm1, "common", "echo dev >/vol/f").OK(t)
	sh(t, s.vm2, "common", "test ! -e /vol/f").OK(t)

	create(t, s.vm1, "secret", "size=32mb")
	require.NotContains(t, strings.Join(listed(t, s.vm2), " "), "secret")
	s.vm2.Docker(t.Context(), "volume", "inspect", "secret").Fails(t, noSuchVolume)
	s.vm2.Docker(t.Context(), "volume", "rm", "secret").Fails(t, noSuchVolume)
	tryCreate(t, s.vm2, "stolen", "clone-from=secret").Fails(t, "Could not find volume for cloning secret")
	require.Equal(t, "dev", sh(t, s.vm1, "common", "cat /vol/f").OK(t).Stdout)

	remove(t, s.vm1, "common", "secret")
	require.Equal(t, []string{"common@ds1"}, listed(t, s.vm2))
	remove(t, s.vm2, "common")
}

// Create privilege, taken and given back; other datastores than the granted
// one are out of reach; _DEFAULT's VM is unaffected.
func TestAccessPrivileges(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "ds1", "vm1")
	tryCreate(t, s.vm1, "v@ds2").Fails(t, noAccess)
	s.admin(t, "vmgroup access add succeeded", "vmgroup", "access", "add", "--name=dev", "--datastore=ds2")
	tryCreate(t, s.vm1, "v@ds2").Fails(t, noCreate)
	s.admin(t, "vmgroup access set succeeded", "vmgroup", "access", "set", "--name=dev", "--datastore=ds2", "--allow-create=True")
	create(t, s.vm1, "v@ds2", "size=32mb")
	s.admin(t, "vmgroup access set succeeded", "vmgroup", "access", "set", "--name=dev", "--datastore=ds2", "--allow-create=False")
	tryCreate(t, s.vm1, "w@ds2").Fails(t, noCreate)
	s.vm1.Docker(t.Context(), "volume", "rm", "v@ds2").Fails(t, noDelete)
	sh(t, s.vm1, "v@ds2", "touch /vol/x").OK(t)
	create(t, s.vm2, "w@ds2", "size=32mb")
	remove(t, s.vm2, "w@ds2")

	s.admin(t, "vmgroup access set succeeded", "vmgroup", "access", "set", "--name=dev", "--datastore=ds2", "--allow-create=true")
	remove(t, s.vm1, "v@ds2")
	s.admin(t, "vmgroup access rm succeeded", "vmgroup", "access", "rm", "--name=dev", "--datastore=ds2")
	tryCreate(t, s.vm1, "v@ds2").Fails(t, noAccess)
	s.Mooring(t.Context(), "vmgroup", "access", "rm", "--name=dev", "--datastore=ds1").Fails(t, "Removing of access privilege to 'default_datastore' is not supported")
	s.Mooring(t.Context(), "vmgroup", "access", "set", "--name=dev", "--datastore=ds2", "--allow-create=True").Fails(t, "No access privilege exists for (dev, ds2)")
	s.Mooring(t.Context(), "vmgroup", "access", "add", "--name=dev", "--datastore=ds1").Fails(t, "Access privilege for (dev, ds1) already exists")
}

// An access row taken away while a volume is attached does not hold the
// container hostage: the detach is never denied.
func TestDetachIsNeverDenied(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "ds1", "vm1")
	s.admin(t, "vmgroup access add", "vmgroup", "access", "add", "--name=dev", "--datastore=ds2", "--allow-create")
	create(t, s.vm1, "v@ds2", "size=32mb")
	keep(t, s.vm1, "user", "v@ds2")
	s.admin(t, "vmgroup access rm", "vmgroup", "access", "rm", "--name=dev", "--datastore=ds2")
	drop(t, s.vm1, "user")
	s.attachedToIn(t, "dev", "v@ds2", "")
}

// The size limits of one row: per volume and in total, inclusive, counted
// anew after removal; limits can be raised and removed.
func TestSizeLimits(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "ds1", "vm1")
	limits := func(size, total string) {
		s.admin(t, "vmgroup access set succeeded", "vmgroup", "access", "set", "--name=dev", "--datastore=ds1", "--volume-maxsize="+size, "--volume-totalsize="+total)
	}
	limits("1gb", "1gb")
	tryCreate(t, s.vm1, "big", "size=2gb").Fails(t, tooLarge)
	create(t, s.vm1, "a", "size=1gb")
	tryCreate(t, s.vm1, "b", "size=1gb").Fails(t, overQuota)
	tryCreate(t, s.vm1, "b", "size=1023mb").Fails(t, overQuota)
	tryCreate(t, s.vm1, "b", "clone-from=a").Fails(t, overQuota)
	create(t, s.vm1, "a", "size=1gb") // idempotent also at the limit
	limits("1gb", "2gb")
	create(t, s.vm1, "b", "size=1024mb")
	tryCreate(t, s.vm1, "c", "size=16mb").Fails(t, overQuota)
	remove(t, s.vm1, "a")
	create(t, s.vm1, "c", "size=16mb")
	limits("unset", "unset")
	create(t, s.vm1, "d", "size=3gb")
	remove(t, s.vm1, "b", "c", "d")

	s.Mooring(t.Context(), "vmgroup", "access", "set", "--name=dev", "--datastore=ds1", "--volume-maxsize=2gb", "--volume-totalsize=1gb").
		Fails(t, "Volume max size 2048MB exceeds the total size 1024MB")
	s.Mooring(t.Context(), "vmgroup", "access", "set", "--name=dev", "--datastore=ds1", "--volume-maxsize=lots").Fails(t, "lots")
}

// Limits on _VM_DS bind short and full names of the VM's own datastore;
// those on _ALL_DS bind every datastore without a row of its own.
func TestSpecialDatastores(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "_VM_DS", "vm1")
	s.admin(t, "vmgroup access set", "vmgroup", "access", "set", "--name=dev", "--datastore=_VM_DS", "--volume-maxsize=100mb", "--volume-totalsize=200mb")
	tryCreate(t, s.vm1, "a", "size=101mb").Fails(t, tooLarge)
	tryCreate(t, s.vm1, "a@ds1", "size=101mb").Fails(t, tooLarge)
	create(t, s.vm1, "a", "size=100mb")
	create(t, s.vm1, "b@ds1", "size=100mb")
	tryCreate(t, s.vm1, "c", "size=16mb").Fails(t, overQuota)
	tryCreate(t, s.vm1, "c@ds2", "size=16mb").Fails(t, noAccess)

	s.admin(t, "vmgroup access add", "vmgroup", "access", "add", "--name=dev", "--datastore=_ALL_DS", "--allow-create", "--volume-maxsize=50mb")
	tryCreate(t, s.vm1, "c@ds2", "size=51mb").Fails(t, tooLarge)
	create(t, s.vm1, "c@ds2", "size=50mb")
	s.admin(t, "vmgroup access add", "vmgroup", "access", "add", "--name=dev", "--datastore=ds2", "--allow-create")
	create(t, s.vm1, "d@ds2", "size=500mb")
	remove(t, s.vm1, "a", "b", "c@ds2", "d@ds2")
	s.Mooring(t.Context(), "vmgroup", "update", "--name=dev", "--default-datastore=_ALL_DS").
		Fails(t, "Cannot use _ALL_DS as default datastore. Please use specific datastore name or _VM_DS special datastore")
}

// A VM with an attached volume stays where it is; afterwards it can go, and
// its volumes stay with the group.
func TestMobility(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "held", "size=32mb")
	keep(t, s.vm1, "user", "held")
	s.Mooring(t.Context(), "vmgroup", "create", "--name=dev", "--default-datastore=ds1", "--vm-list=vm1").Fails(t, "'vm1' has volumes mounted")
	s.group(t, "dev", "ds1")
	s.Mooring(t.Context(), "vmgroup", "vm", "add", "--name=dev", "--vm-list=vm1").Fails(t, "Cannot add VM to vmgroup VM 'vm1' has volumes mounted.")
	drop(t, s.vm1, "user")
	s.attachedTo(t, "held", "")
	s.admin(t, "vmgroup vm add succeeded", "vmgroup", "vm", "add", "--name=dev", "--vm-list=vm1")

	create(t, s.vm1, "mine", "size=32mb")
	keep(t, s.vm1, "user", "mine")
	s.Mooring(t.Context(), "vmgroup", "vm", "rm", "--name=dev", "--vm-list=vm1").Fails(t, "Cannot complete vmgroup vm rm. VM 'vm1' has volumes mounted.")
	drop(t, s.vm1, "user")
	s.attachedToIn(t, "dev", "mine", "")
	s.admin(t, "vmgroup vm rm succeeded", "vmgroup", "vm", "rm", "--name=dev", "--vm-list=vm1")
	require.Equal(t, []string{"held@ds1"}, listed(t, s.vm1))
	s.Mooring(t.Context(), "vmgroup", "rm", "--name=dev").Fails(t, "The vmgroup has volumes in it, these must be removed/migrated before deleting the vmgroup.")
	s.admin(t, "All Volumes will be removed. vmgroup rm succeeded", "vmgroup", "rm", "--name=dev", "--remove-volumes")
	remove(t, s.vm1, "held")
}

// Membership rules and their texts.
func TestMembership(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.Mooring(ctx, "vmgroup", "create", "--name=dev", "--default-datastore=ds1", "--vm-list=ghost").Fails(t, "Cannot find vm ghost")
	s.Mooring(ctx, "vmgroup", "create", "--name=no good", "--default-datastore=ds1").Fails(t, "Vmgroup name no good is invalid, only [a-zA-Z0-9_][a-zA-Z0-9_.-]* is allowed")
	s.Mooring(ctx, "vmgroup", "create", "--name=dev", "--default-datastore=nowhere").Fails(t, "Datastore nowhere does not exist")
	s.group(t, "dev", "ds1", "vm1")
	s.Mooring(ctx, "vmgroup", "create", "--name=dev", "--default-datastore=ds1").Fails(t, "Vmgroup dev already exists")
	s.Mooring(ctx, "vmgroup", "vm", "add", "--name=dev", "--vm-list=vm2,vm2").Fails(t, "contain duplicates, they should be unique")
	s.Mooring(ctx, "vmgroup", "vm", "add", "--name=dev", "--vm-list=").Fails(t, "VM list cannot be empty")
	s.Mooring(ctx, "vmgroup", "vm", "rm", "--name=dev", "--vm-list=vm2").Fails(t, "VM 'vm2' has not been associated with tenant 'dev', cannot remove it")
	s.group(t, "ops", "ds1")
	s.Mooring(ctx, "vmgroup", "vm", "add", "--name=ops", "--vm-list=vm1").Fails(t, "VM 'vm1' has already been associated with tenant 'dev', can't add it")
	s.Mooring(ctx, "vmgroup", "rm", "--name=dev").Fails(t, "Cannot delete non-empty vmgroup dev. Remove VMs from the vmgroup before deleting it.")
	s.admin(t, "vmgroup vm replace succeeded", "vmgroup", "vm", "replace", "--name=dev", "--vm-list=vm1,vm3")
	require.Equal(t, []string{"vm1", "vm3"}, s.Mooring(ctx, "vmgroup", "vm", "ls", "--name=dev", "-o", "name").OK(t).Lines())

	// Renaming keeps members and volumes.
	create(t, s.vm1, "v", "size=32mb")
	s.admin(t, "vmgroup modify succeeded", "vmgroup", "update", "--name=dev", "--new-name=development")
	t.Cleanup(func() { s.dropGroup(cleanup(), "development") })
	require.Equal(t, "development", status(t, s.vm1, "v")["vmgroup"])
	s.Mooring(ctx, "vmgroup", "update", "--name=development", "--new-name=*").Fails(t, "Vmgroup name * is invalid")
	s.Mooring(ctx, "vmgroup", "update", "--name=_DEFAULT", "--new-name=x").Fails(t, "only rename of vmgroups other than _DEFAULT is allowed")
	remove(t, s.vm1, "v")
}

// rm --remove-volumes takes volumes on all datastores, or nothing: an
// attached one stands in the way and everything stays.
func TestRemoveGroupWithVolumes(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "ds1", "vm1")
	s.admin(t, "vmgroup access add", "vmgroup", "access", "add", "--name=dev", "--datastore=ds2", "--allow-create")
	create(t, s.vm1, "a", "size=32mb")
	create(t, s.vm1, "b@ds2", "size=32mb")
	keep(t, s.vm1, "user", "b@ds2")
	s.Mooring(t.Context(), "vmgroup", "rm", "--name=dev", "--force", "--remove-volumes").Fails(t, "b")
	require.ElementsMatch(t, []string{"a@ds1", "b@ds2"}, listed(t, s.vm1), "all or nothing")
	drop(t, s.vm1, "user")
	s.attachedToIn(t, "dev", "b@ds2", "")
	s.admin(t, "All Volumes will be removed. vmgroup rm succeeded", "vmgroup", "rm", "--name=dev", "--force", "--remove-volumes")
	require.Empty(t, listed(t, s.vm1))
}

// _DEFAULT takes no members; removed, it locks everybody out that is in no
// vmgroup; created again, it lets them in, with the volumes it had.
func TestDefaultVMGroup(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	for _, verb := range []string{"add", "rm", "replace"} {
		s.Mooring(ctx, "vmgroup", "vm", verb, "--name=_DEFAULT", "--vm-list=vm1").Fails(t, notDefault)
	}
	s.Mooring(ctx, "vmgroup", "vm", "ls", "--name=_DEFAULT").Fails(t, "_DEFAULT tenant contains all VMs which were not added to other tenants")
	create(t, s.vm1, "old", "size=32mb")
	s.Mooring(ctx, "vmgroup", "rm", "--name=_DEFAULT").Fails(t, "The vmgroup has volumes in it")
	s.admin(t, "All Volumes will be removed. vmgroup rm succeeded", "vmgroup", "rm", "--name=_DEFAULT", "--remove-volumes")
	t.Cleanup(func() { restoreDefault(s) })
	require.Empty(t, listed(t, s.vm1))
	tryCreate(t, s.vm1, "new").Fails(t, noGroup)
	s.group(t, "ops", "ds1", "vm2")
	create(t, s.vm2, "fine", "size=32mb")
	remove(t, s.vm2, "fine")

	s.Mooring(ctx, "vmgroup", "create", "--name=_DEFAULT", "--default-datastore=_VM_DS", "--vm-list=vm1").Fails(t, "vm1")
	s.admin(t, "vmgroup '_DEFAULT' is created.", "vmgroup", "create", "--name=_DEFAULT", "--default-datastore=_VM_DS")
	s.admin(t, "vmgroup access add succeeded", "vmgroup", "access", "add", "--name=_DEFAULT", "--datastore=_ALL_DS", "--allow-create")
	require.Contains(t, s.Mooring(ctx, "vmgroup", "ls").OK(t).Stdout, "11111111-1111-1111-1111-111111111111  _DEFAULT")
	create(t, s.vm1, "new@ds2", "size=32mb")
	require.Equal(t, "_DEFAULT", status(t, s.vm1, "new@ds2")["vmgroup"])
	remove(t, s.vm1, "new@ds2")
}

// restoreDefault puts _DEFAULT back as the first start makes it.
func restoreDefault(s *site) {
	s.Mooring(cleanup(), "vmgroup", "create", "--name=_DEFAULT", "--default-datastore=_VM_DS")
	s.Mooring(cleanup(), "vmgroup", "access", "add", "--name=_DEFAULT", "--datastore=_ALL_DS", "--allow-create")
}

// guide starts the service of the tenancy guide in the place of the site's.
// One of its machines is the guest vm1.
func guide(t *testing.T, s *site, machines []string, vm1 string) *harness.Daemon {
	t.Helper()
	stores := []*harness.Datastore{lab.Folder(t, at("guide-vcenter", "datastore1")), lab.Folder(t, at("guide-vcenter", "datastore3"))}
	d := lab.Daemon(t, "guide", stores, nil, func(c *harness.Config) {
		for _, name := range machines {
			vm := harness.ConfigVM{Name: name, Datastore: "datastore1", Dev: lab.Dir + "/guide/" + name + "/dev", Socket: lab.Dir + "/guide/" + name + "/self.sock"}
			if name == vm1 {
				vm.Dev, vm.Socket, vm.InitPIDFile = s.vm1.DevDir(), s.vm1.Socket(), s.vm1.InitPIDFile()
			}
			require.NoError(t, os.MkdirAll(vm.Dev, 0o755))
			c.VMs = append(c.VMs, vm)
		}
	})
	if s.vc != nil {
		vc := vcenter(t, "guide-vcenter", d, stores)
		t.Cleanup(func() {
			require.NoError(t, vc.End())
			s.vc.Admit(t, s.vm1, "vm1", s.ds1)
		})
		for _, name := range machines {
			if name == vm1 {
				vc.Admit(t, s.vm1, name, stores[0])
				continue
			}
			_, err := vc.AddVM(t.Context(), name, "", stores[0].Name)
			require.NoError(t, err)
		}
		d.Config.Guest = s.Config.Guest // where the plugins look for it
	}
	d.Start(t)
	t.Cleanup(func() { require.NoError(t, d.End()) })
	if s.vc != nil {
		invite(t, d, vm1, s.invitation(s.vm1))
		enrolled(t, d, vm1)
	}
	return d
}

// The session of the tenancy guide, word for word, with one guest as a
// machine of the test team. See docs/tenancy.md.
func TestTenancyGuideSession(t *testing.T) {
	s := newSite(t)
	s.Stop(t)
	t.Cleanup(func() {
		s.Start(t)
		s.enrollAgain(t, s.vm1)
	})
	d := guide(t, s, []string{"Photon1", "Photon2", "Photon3", "Photon4", "Photon5", "Photon6"}, "Photon4")
	ctx := t.Context()

	const created = "vmgroup '%' is created.  Do not forget to run 'vmgroup vm add' and 'vmgroup access add' commands to enable access control."
	say := func(want string, args ...string) {
		t.Helper()
		require.Equal(t, want, d.Mooring(ctx, args...).OK(t).Stdout)
	}
	say(strings.Replace(created, "%", "Product1Dev", 1), "vmgroup", "create", "--name=Product1Dev")
	say(strings.Replace(created, "%", "Product1Test", 1), "vmgroup", "create", "--name=Product1Test")
	say("vmgroup rm succeeded", "vmgroup", "rm", "--name=_DEFAULT")
	say("vmgroup vm add succeeded", "vmgroup", "vm", "add", "--vm-list=Photon1,Photon2,Photon3", "--name=Product1Dev")
	say("vmgroup vm add succeeded", "vmgroup", "vm", "add", "--vm-list=Photon4,Photon5,Photon6", "--name=Product1Test")
	table := strings.Split(d.Mooring(ctx, "vmgroup", "ls").OK(t).Stdout, "\n")
	require.Len(t, table, 4)
	require.Equal(t, "Uuid                                  Name          Description  Default_datastore  VM_list", table[0])
	require.Equal(t, "------------------------------------  ------------  -----------  -----------------  -----------------------", table[1])
	require.Equal(t, "  Product1Dev                                   Photon1,Photon2,Photon3", table[2][36:])
	require.Equal(t, "  Product1Test                                  Photon4,Photon5,Photon6", table[3][36:])
	say("vmgroup access add succeeded", "vmgroup", "access", "add", "--name=Product1Dev", "--datastore=datastore3", "--allow-create", "--default-datastore", "--volume-maxsize=1GB", "--volume-totalsize=20GB")
	say("vmgroup access add succeeded", "vmgroup", "access", "add", "--name=Product1Test", "--datastore=datastore3", "--allow-create", "--default-datastore", "--volume-maxsize=1GB", "--volume-totalsize=40GB")
	say("Datastore   Allow_create  Max_volume_size  Total_size\n----------  ------------  ---------------  ----------\ndatastore3  True          1.00GB           20.00GB",
		"vmgroup", "access", "ls", "--name", "Product1Dev")
	say("Datastore   Allow_create  Max_volume_size  Total_size\n----------  ------------  ---------------  ----------\ndatastore3  True          1.00GB           40.00GB",
		"vmgroup", "access", "ls", "--name", "Product1Test")

	qa := s.vm1
	tryCreate(t, qa, "MyVolume", "size=2GB").Fails(t, "Error response from daemon: create MyVolume: VolumeDriver.Create: ", "Volume size exceeds the max volume size limit")
	tryCreate(t, qa, "MyVolume@datastore1", "size=2GB").Fails(t, "Error response from daemon: create MyVolume@datastore1: VolumeDriver.Create: ", "No access privilege exists")
	create(t, qa, "MyVolume", "size=1GB")
	require.Equal(t, []string{"MyVolume@datastore3"}, listed(t, qa))
	remove(t, qa, "MyVolume")
	tryCreate(t, s.vm2, "MyVolume").Fails(t, "") // a machine the service does not know
}
