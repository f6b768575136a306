// Package slots chooses where a disk is plugged into a VM: a unit of a
// paravirtual SCSI controller that is there, or of a new one. It is pure.
package slots

// What a VM can have.
const (
	buses = 4 // SCSI controllers
	own   = 7 // the unit that is the controller itself
	units = 64
	// oldUnits is the same for VMs of an old hardware version.
	oldUnits = 16
	// wide is the first hardware version with all units.
	wide = 14
)

// Controller is a SCSI controller of a VM.
type Controller struct {
	Key    int32
	Bus    int32
	Usable bool    // paravirtual, and its bus is not shared with other VMs
	Units  []int32 // taken ones
}

// Slot is a place for a disk.
type Slot struct {
	New        bool  // the controller is to be made
	Controller int32 // its key; of a new one, one for the request that makes it
	Bus        int32
	Unit       int32
}

// Choose finds the first free slot of a VM with a hardware version, 0 if that is
// unknown: the lowest unit of the lowest bus, and a new controller only when
// those that are there are full. A VM without room is not ok.
func Choose(hardware int, controllers []Controller) (s Slot, ok bool) {
	taken := map[int32]bool{}
	for _, c := range controllers {
		taken[c.Bus] = true
	}
	for bus := range int32(buses) {
		for _, c := range controllers {
			if c.Bus != bus || !c.Usable {
				continue
			}
			if unit, ok := free(hardware, c.Units); ok {
				return Slot{Controller: c.Key, Bus: bus, Unit: unit}, true
			}
		}
	}
	for bus := range int32(buses) {
		if !taken[bus] {
			return Slot{New: true, Controller: -100 - bus, Bus: bus}, true
		}
	}
	return Slot{}, false
}

// Room is how many disks fit on one controller.
func Room(hardware int) int {
	if hardware < wide {
		return oldUnits - 1
	}
	return units - 1
}

func free(hardware int, used []int32) (int32, bool) {
	taken := map[int32]bool{own: true}
	for _, u := range used {
		taken[u] = true
	}
	for u := range int32(Room(hardware) + 1) {
		if !taken[u] {
			return u, true
		}
	}
	return 0, false
}
