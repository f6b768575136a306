package vsphere

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/vmware/govmomi/vim25/types"
)

func TestPlacesInTheTransporter(t *testing.T) {
	p := place{3, 15, "[a b] mooring/g/v w.vmdk"}
	assert.Equal(t, "3:15 [a b] mooring/g/v w.vmdk", p.String())
	got, ok := parsePlace(p.String())
	assert.True(t, ok)
	assert.Equal(t, p, got)
	for _, bad := range []string{"", "3:15", "3:15 ", "x:1 [a] b", "1:x [a] b", "1 [a] b", "[a] b.vmdk"} {
		_, ok := parsePlace(bad)
		assert.False(t, ok, bad)
	}
}

func TestADiskIsKnownByItsPlaceAndItsFile(t *testing.T) {
	flat := func(file, mode string) *types.VirtualDiskFlatVer2BackingInfo {
		return &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file}, DiskMode: mode}
	}
	child := flat("[ds] x/redo-1.vmdk", readOnlyMode)
	child.Parent = flat("[ds] x/v.vmdk", readOnlyMode)
	sparse := &types.VirtualDiskSeSparseBackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[ds] x/v.vmdk"}, DiskMode: readOnlyMode}
	raw := &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[ds] x/v.vmdk"}}
	for name, c := range map[string]struct {
		controller, unit int32
		backing          types.BaseVirtualDeviceBackingInfo
		is               bool
	}{
		"as it was plugged in":               {1001, 4, flat("[ds] x/v.vmdk", readOnlyMode), true},
		"the folder has another name":        {1001, 4, flat("[ds] 6f1f3c5e-9d8a/v.vmdk", readOnlyMode), true},
		"what is written goes to a child":    {1001, 4, child, true},
		"a delta of another kind":            {1001, 4, sparse, true},
		"to be written":                      {1001, 4, flat("[ds] x/v.vmdk", string(types.VirtualDiskModeIndependent_persistent)), true},
		"on another controller":              {1000, 4, flat("[ds] x/v.vmdk", readOnlyMode), false},
		"in another place":                   {1001, 5, flat("[ds] x/v.vmdk", readOnlyMode), false},
		"another file":                       {1001, 4, flat("[ds] x/w.vmdk", readOnlyMode), false},
		"in a mode in which we plug none in": {1001, 4, flat("[ds] x/v.vmdk", writableMode), false},
		"a raw device":                       {1001, 4, raw, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := machineNow{
				devices: []types.BaseVirtualDevice{newController("pvscsi", 1000, 0), newController("pvscsi", 1001, 1), &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
					Key: 2068, ControllerKey: c.controller, UnitNumber: &c.unit, Backing: c.backing,
				}}},
				extra: map[string]string{transporting + "a": "1:4 [ds] x/v.vmdk", transporting + "b": "nonsense", "mooring.other": "1:4 [ds] x/v.vmdk"},
			}
			assert.Equal(t, c.is, now.noted("a") != nil)
			assert.Nil(t, now.noted("b"))
			assert.Equal(t, []string{"a"}, now.left(&transporter{}))
			assert.Len(t, now.takeOut("a").DeviceChange, map[bool]int{true: 1}[c.is])
		})
	}
}
