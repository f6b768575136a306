package vsphere

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// place is where in the transporter a disk was plugged in. vSphere may show its
// file in another folder than was asked for: on vSAN under the folder's UUID.
type place struct {
	bus, unit int32
	file      string // as vSphere writes it
}

func (p place) String() string { return fmt.Sprintf("%d:%d %s", p.bus, p.unit, p.file) }

// parsePlace is the inverse of String.
func parsePlace(text string) (p place, ok bool) {
	slot, file, ok := strings.Cut(text, " ")
	bus, unit, is := strings.Cut(slot, ":")
	b, err := strconv.ParseInt(bus, 10, 32)
	u, err2 := strconv.ParseInt(unit, 10, 32)
	return place{int32(b), int32(u), file}, ok && is && err == nil && err2 == nil && file != ""
}

func note(id, text string) []types.BaseOptionValue {
	return []types.BaseOptionValue{&types.OptionValue{Key: transporting + id, Value: text}}
}

// noted is the disk that is plugged in under an id, nil when there is none: one in
// that place, with such a file, and in a mode in which we plug in.
func (now machineNow) noted(id string) *types.VirtualDisk {
	p, ok := parsePlace(now.extra[transporting+id])
	if !ok {
		return nil
	}
	for _, c := range now.controllers() {
		for _, d := range disksAmong(now.devices) {
			if c.Bus != p.bus || d.ControllerKey != c.Key || slot(d) != p.unit {
				continue
			}
			mode, _ := keptAs(d)
			if independent(mode) && slices.ContainsFunc(filesOf(d), func(at string) bool { return path.Base(at) == path.Base(p.file) }) {
				return d
			}
		}
	}
	return nil
}
