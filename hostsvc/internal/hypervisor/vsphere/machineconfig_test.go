package vsphere

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/types"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func setting(key string, value any) types.BaseOptionValue {
	return &types.OptionValue{Key: key, Value: value}
}

func TestAConfigurationHasNoSecretAndNoIdentity(t *testing.T) {
	card := types.VirtualEthernetCard{MacAddress: "00:50:56:aa:bb:cc", VirtualDevice: types.VirtualDevice{
		DeviceInfo: &types.Description{Label: "Network adapter 1"},
		Backing: &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: "dvportgroup-7", SwitchUuid: "50 11 secret-switch"},
		},
	}}
	info := types.VirtualMachineConfigInfo{
		Uuid: "4200aaaa-secret-bios", InstanceUuid: "5000bbbb-secret-instance", LocationId: "secret-location", Version: "vmx-19", GuestId: "otherLinux64Guest", Annotation: "of the shop",
		Hardware: types.VirtualHardware{NumCPU: 2, MemoryMB: 1024, Device: []types.BaseVirtualDevice{
			&types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}},
			&types.VirtualTPM{VirtualDevice: types.VirtualDevice{DeviceInfo: &types.Description{Label: "Virtual TPM"}}, EndorsementKeyCertificate: [][]byte{[]byte("secret-key")}},
		}},
		ExtraConfig: []types.BaseOptionValue{
			setting("disk.EnableUUID", "TRUE"), setting("guestinfo.mooring.enroll", "secret-code"), setting("guestinfo.userdata", "secret-cloud"),
			setting("RemoteDisplay.vnc.password", "secret-vnc"), setting("RemoteDisplay.vnc.key", "secret-key"), setting("vmci0.id", "-1234secret"), setting("uuid.bios", "secret"),
			setting("sched.swap.derivedName", "/vmfs/secret.vswp"), setting("ethernet0.generatedAddress", "secret-mac"), setting("numa.autosize.once", "FALSE"),
			setting("mooring.replacing.2000", "[ds] secret.vmdk"), setting("encryption.data", "secret-encrypted"), setting("isolation.tools.copy.disable", "TRUE"), setting("numa.", "secret-of-nothing"),
		},
	}
	c := describeConfig(info, map[string]string{"dvportgroup-7": "production"})
	data, err := json.Marshal(c)
	require.NoError(t, err)
	assert.NotContains(t, string(data), "secret")
	assert.NotContains(t, string(data), "00:50:56")
	assert.Equal(t, map[string]string{"disk.EnableUUID": "TRUE", "numa.autosize.once": "FALSE", "isolation.tools.copy.disable": "TRUE"}, c.Settings)
	assert.Equal(t, []networkCardConfig{{Kind: "vmxnet3", Label: "Network adapter 1", Network: "production", Connected: true}}, c.Cards)
	assert.Equal(t, []string{"Virtual TPM"}, c.Lost)
	assert.Equal(t, "of the shop", c.Annotation)
}

func TestOnlyWhatIsListedIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.SampledFrom([]string{"guestinfo.", "sched.swap.", "vmci0.", "uuid.", "ethernet1.", "RemoteDisplay.vnc."}).Draw(rt, "of") + rapid.String().Draw(rt, "key")
		assert.False(rt, isKept(key), key)
	})
}

func TestEachKindOfControllerAndCardIsMadeAgain(t *testing.T) {
	for _, kind := range []string{"pvscsi", "lsilogic-sas", "lsilogic", "buslogic", "sata", "nvme"} {
		d := newController(kind, -1, 3)
		require.NotNil(t, d, kind)
		assert.Equal(t, kind, controllerKind(d))
		c := d.(types.BaseVirtualController).GetVirtualController()
		assert.Equal(t, int32(3), c.BusNumber)
		assert.Equal(t, int32(-1), c.Key)
	}
	assert.Nil(t, newController("strange", 0, 0))
	for _, kind := range []string{"vmxnet3", "vmxnet2", "e1000", "e1000e", "pcnet32"} {
		assert.Equal(t, kind, cardKind(newCard(kind, types.VirtualEthernetCard{})))
	}
}

func TestAConfigurationThatIsNone(t *testing.T) {
	whole := `{"mooring_vsphere_vm":1,"name":"x","datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512}`
	_, err := parseConfig([]byte(whole))
	require.NoError(t, err)
	for _, bad := range []string{
		``, `nonsense`, `[]`, `{}`, `{"datastore":"ds"}`,
		`{"mooring_vsphere_vm":2,"datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512}`,
		`{"mooring_vsphere_vm":1,"hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512}`,
		`{"mooring_vsphere_vm":1,"datastore":"ds","hardware":"vmx-19","guest":"other","cpus":0,"memory_mb":512}`,
		`{"mooring_vsphere_vm":1,"datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512,"controllers":[{"kind":"strange"}]}`,
		`{"mooring_vsphere_vm":1,"datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512,"disks":[{"key":"2000","datastore":"ds","format":"thin","controller":1000}]}`,
		`{"mooring_vsphere_vm":1,"datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512,"controllers":[{"key":1000,"kind":"pvscsi"}],"disks":[{"key":"2000","datastore":"ds","format":"fluid","controller":1000}]}`,
	} {
		_, err := parseConfig([]byte(bad))
		assert.Equal(t, errkind.Invalid, errkind.Of(err), bad)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"mooring_vsphere_vm":1,"name":"x","datastore":"ds","hardware":"vmx-19","guest":"other","cpus":1,"memory_mb":512}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseConfig(data); err == nil {
			assert.NotEmpty(t, c.Datastore)
		}
	})
}

func TestWhyThereIsNoImageOfADisk(t *testing.T) {
	flat := func(change func(*types.VirtualDiskFlatVer2BackingInfo)) *types.VirtualDisk {
		b := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: writableMode}
		change(b)
		return &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: b}}
	}
	other := func(b types.BaseVirtualDeviceBackingInfo) *types.VirtualDisk {
		return &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: b}}
	}
	for want, d := range map[string]*types.VirtualDisk{
		"": flat(func(*types.VirtualDiskFlatVer2BackingInfo) {}),
		"make it dependent": flat(func(b *types.VirtualDiskFlatVer2BackingInfo) {
			b.DiskMode = string(types.VirtualDiskModeIndependent_persistent)
		}),
		"independent_nonpersistent": flat(func(b *types.VirtualDiskFlatVer2BackingInfo) { b.DiskMode = readOnlyMode }),
		"end the sharing": flat(func(b *types.VirtualDiskFlatVer2BackingInfo) {
			b.Sharing = string(types.VirtualDiskSharingSharingMultiWriter)
		}),
		"decrypt it":        flat(func(b *types.VirtualDiskFlatVer2BackingInfo) { b.KeyId = &types.CryptoKeyId{KeyId: "k"} }),
		"physical mode":     other(&types.VirtualDiskRawDiskMappingVer1BackingInfo{CompatibilityMode: "physicalMode"}),
		"content is in no":  other(&types.VirtualDiskRawDiskMappingVer1BackingInfo{CompatibilityMode: "virtualMode"}),
		"not known here":    other(&types.VirtualDiskLocalPMemBackingInfo{}),
		"nonpersistent), s": other(&types.VirtualDiskSeSparseBackingInfo{DiskMode: "independent_nonpersistent"}),
	} {
		if want == "" {
			assert.Empty(t, refusal(d))
			continue
		}
		assert.Contains(t, refusal(d), want)
	}
}

func TestAMomentIsOfOneSize(t *testing.T) {
	for _, bad := range []string{"", "nonsense", "@x", "12", "x@y"} {
		_, ok := parseChange(bad)
		assert.False(t, ok, bad)
	}
	c := change{16 * volspec.MiB, "52 aa/1"}
	got, ok := parseChange(c.String())
	assert.True(t, ok)
	assert.Equal(t, c, got)
}

func TestTheNameOfAFolder(t *testing.T) {
	const id = "0123456789abcdef"
	for name, want := range map[string]string{
		"db": "db-01234567", "../etc/passwd": "___etc_passwd-01234567", "Büro [1]": "B__ro _1_-01234567", "  ": "vm-01234567", "a/b": "a_b-01234567",
	} {
		got := folderOf(name, id)
		if name == "Büro [1]" {
			assert.NotContains(t, got, "[")
			continue
		}
		assert.Equal(t, want, got)
	}
	r := buildRecord{ID: id, Name: "db", VMX: "[ds] db-01234567/db.vmx", Folders: []string{"[ds] db-01234567"}}
	assert.True(t, r.ours())
	for _, bad := range []string{"[ds] mooring", "[ds] other-vm", "db-01234567", "[ds] a/db-01234567", "[ds] "} {
		r.Folders = []string{bad}
		assert.False(t, r.ours(), bad)
	}
}
