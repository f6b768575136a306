package vsphere

import "github.com/vmware/govmomi/vim25/types"

func disksAmong(devices []types.BaseVirtualDevice) (disks []*types.VirtualDisk) {
	for _, dev := range devices {
		if d, ok := dev.(*types.VirtualDisk); ok {
			disks = append(disks, d)
		}
	}
	return disks
}

// filesBehind are the file of a disk and those that it is a child of.
func filesBehind(backing types.BaseVirtualDeviceBackingInfo) (files []*types.VirtualDeviceFileBackingInfo) {
	switch b := backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		for ; b != nil; b = b.Parent {
			files = append(files, &b.VirtualDeviceFileBackingInfo)
		}
	case *types.VirtualDiskSeSparseBackingInfo:
		for ; b != nil; b = b.Parent {
			files = append(files, &b.VirtualDeviceFileBackingInfo)
		}
	case *types.VirtualDiskSparseVer2BackingInfo:
		for ; b != nil; b = b.Parent {
			files = append(files, &b.VirtualDeviceFileBackingInfo)
		}
	case types.BaseVirtualDeviceFileBackingInfo:
		files = append(files, b.GetVirtualDeviceFileBackingInfo())
	}
	return files
}

// filesOf are those files as vSphere writes them; a device that is no disk has none.
func filesOf(dev types.BaseVirtualDevice) (files []string) {
	d, ok := dev.(*types.VirtualDisk)
	if !ok {
		return nil
	}
	for _, f := range filesBehind(d.Backing) {
		files = append(files, f.FileName)
	}
	return files
}

// keptAs is the mode in which a VM has a disk, and the UUID that its guest sees.
func keptAs(d *types.VirtualDisk) (mode, uuid string) {
	switch b := d.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		return b.DiskMode, b.Uuid
	case *types.VirtualDiskSeSparseBackingInfo:
		return b.DiskMode, b.Uuid
	case *types.VirtualDiskSparseVer2BackingInfo:
		return b.DiskMode, b.Uuid
	}
	return "", ""
}

// baseOf is the file that a disk is a child of, itself when it is of none.
func baseOf(b *types.VirtualDiskFlatVer2BackingInfo) *types.VirtualDiskFlatVer2BackingInfo {
	for b.Parent != nil {
		b = b.Parent
	}
	return b
}
