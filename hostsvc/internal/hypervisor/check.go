package hypervisor

import (
	"regexp"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// word is what identifiers are made of: no dot, no slash, so that one can be
// part of a file's name and never lead elsewhere.
var word = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$`)

// ValidID reports whether s can be the id of a group, volume or snapshot.
func ValidID(s string) bool { return word.MatchString(s) }

// Check validates r's form for every implementation; invalid otherwise.
func (r Ref) Check() error {
	switch {
	case !ValidID(string(r.Group)):
		return errkind.New(errkind.Invalid, "vmgroup id %q of a disk is not valid: only letters, digits and dashes are", r.Group)
	case !ValidID(string(r.Volume)):
		return errkind.New(errkind.Invalid, "volume id %q of a disk is not valid: only letters, digits and dashes are", r.Volume)
	}
	return nil
}

// CheckSize validates the size of a disk.
func CheckSize(size volspec.Size) error {
	if size <= 0 || size > volspec.MaxSize {
		return errkind.New(errkind.Invalid, "size %d of a disk is not valid: it must be between 1 byte and %s", size, volspec.MaxSize)
	}
	return nil
}

// RoundUp is the smallest multiple of unit, a power of two, that is not below
// size: what a disk of that size takes on a datastore of that unit.
func RoundUp(size, unit volspec.Size) volspec.Size {
	return (size + unit - 1) &^ (unit - 1)
}

// CheckFormat validates the format of a disk.
func CheckFormat(format string) error {
	switch format {
	case volspec.Thin, volspec.ZeroedThick, volspec.EagerZeroedThick:
		return nil
	}
	return errkind.New(errkind.Invalid, "disk format %q is not known: use thin, zeroedthick or eagerzeroedthick", format)
}

// CheckNew validates size and format of a disk that is to be made.
func CheckNew(size volspec.Size, format string) error {
	if err := CheckSize(size); err != nil {
		return err
	}
	return CheckFormat(format)
}

// CheckBuild validates what Imager.Build is told of a disk.
func CheckBuild(size volspec.Size, format string, keep volspec.SnapshotID) error {
	if err := CheckNew(size, format); err != nil || keep == "" {
		return err
	}
	return CheckSnapshotID(keep)
}

// CheckSnapshotID validates the form of a snapshot's id.
func CheckSnapshotID(id volspec.SnapshotID) error {
	if !ValidID(string(id)) {
		return errkind.New(errkind.Invalid, "snapshot id %q is not valid: only letters, digits and dashes are", id)
	}
	return nil
}

var guestInfoKey = regexp.MustCompile(`^[a-zA-Z0-9]+(\.[a-zA-Z0-9]+)*$`)

// CheckGuestInfoKey validates a key of GuestInfo.
func CheckGuestInfoKey(key string) error {
	if len(key) > 64 || !guestInfoKey.MatchString(key) {
		return errkind.New(errkind.Invalid, "key %q for a VM is not valid: only words of letters and digits with dots between are", key)
	}
	return nil
}
