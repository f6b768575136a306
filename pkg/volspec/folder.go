package volspec

import (
	"slices"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/visible"
)

// Folder is the path of a folder of VMs in the hypervisor's inventory: the
// names of folders as the inventory writes them, joined by slashes. One that
// begins with a slash is absolute, /DATACENTER/vm/tenants; any other lies below
// the folder that holds all VMs. "" is no folder.
type Folder string

// FolderGrant is a folder that was given to a vmgroup: it may protect the VMs
// in it and below.
type FolderGrant struct {
	Group  VMGroupID
	Folder Folder // absolute
}

// maxFolder bounds a path, in bytes.
const maxFolder = 1024

// ParseFolder validates a path and brings it to its one form, without slashes
// that say nothing.
func ParseFolder(s string) (Folder, error) {
	bad := func(why string) (Folder, error) {
		return "", errkind.New(errkind.Invalid, "Folder %q is not valid: %s; write it as /DATACENTER/vm/FOLDER, or as FOLDER below the datacenter's folder of VMs", clip(s), why)
	}
	var names []string
	for name := range strings.SplitSeq(s, "/") {
		if name != "" {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		return bad("it names none")
	case len(s) > maxFolder:
		return bad("it is too long")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, visible.Hidden):
		return bad("it contains control characters, or others that cannot be seen")
	case slices.Contains(names, ".") || slices.Contains(names, ".."):
		return bad(". and .. are not names of folders")
	}
	f := strings.Join(names, "/")
	if s[0] == '/' {
		f = "/" + f
	}
	return Folder(f), nil
}

// IsAbs reports whether f is absolute.
func (f Folder) IsAbs() bool { return strings.HasPrefix(string(f), "/") }

// Holds reports whether o is f or lies below it. Both are absolute, or neither.
func (f Folder) Holds(o Folder) bool {
	return f != "" && (f == o || strings.HasPrefix(string(o), string(f)+"/"))
}

// Overlaps reports whether a VM can be in both: one of them holds the other.
func (f Folder) Overlaps(o Folder) bool { return f.Holds(o) || o.Holds(f) }
