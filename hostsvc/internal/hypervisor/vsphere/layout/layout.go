// Package layout is how volumes lie on a vSphere datastore. In the folder
// mooring/<vmgroup> there are
//
//	<volume>.vmdk             the disk
//	<volume>.<keep>.<n>.vmdk  the disk since its content was replaced for the
//	                          n-th time; what was before is snapshot keep
//	<volume>.<id>.snap.vmdk   a snapshot made by copying
//	<any of these>.tmp.vmdk   being made: no reader sees it
//	<volume>.json             the metadata beside it
//	<volume>.<keep>.<n>.was   says the same as the disk of that name, which is gone
//	<volume>.<keep>.<n>.gone  snapshot keep was removed, although its disk is there
//	<volume>.away             where vSphere has moved the disk; of a replaced one
//	                          <volume>.<keep>.<n>.away
//
// and the files that vSphere puts beside a disk: extents, change maps, and the
// children <name>-000001.vmdk that its own snapshots make. Ids have no dots,
// so that every name is of one volume.
//
// The disk with the highest n is the volume's. Nothing is ever moved away from
// under a snapshot: a replacement is the appearance of one file.
//
// The functions are pure.
package layout

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Root is the folder on a datastore in which everything is.
const Root = "mooring"

const (
	diskExt = ".vmdk"
	metaExt = ".json"
	wasExt  = ".was"
	goneExt = ".gone"
	awayExt = ".away"
	snap    = "snap"
	tmp     = "tmp"
)

// Folder is that of a vmgroup on a datastore.
func Folder(g volspec.VMGroupID) string { return path.Join(Root, string(g)) }

// Kind says what a file is.
type Kind int

// The kinds. Was, Gone and Away are notes, see the package.
const (
	Disk     Kind = iota // a disk: N tells which
	Snapshot             // a copy
	Meta                 // the metadata record
	Was
	Gone
	Away
)

// Name is the name of one file, without its folder.
type Name struct {
	Volume volspec.VolumeID
	Kind   Kind
	// N counts replacements of a Disk's content; of notes too.
	N int
	// ID is the id of a Snapshot, or of what was before replacement N.
	ID volspec.SnapshotID
	// Tmp is set while the file is being made.
	Tmp bool
	// Child is the number of a child that a snapshot of vSphere's has made, 0 for
	// the file itself. Numbers say nothing about the order.
	Child int
}

// String is the name of the file.
func (n Name) String() string {
	s := string(n.Volume)
	switch {
	case n.Kind == Snapshot:
		s += "." + string(n.ID) + "." + snap
	case n.N > 0:
		s += "." + string(n.ID) + "." + strconv.Itoa(n.N)
	}
	if n.Tmp {
		s += "." + tmp
	}
	if n.Child > 0 {
		digits := strconv.Itoa(n.Child)
		s += "-" + strings.Repeat("0", max(0, 6-len(digits))) + digits
	}
	return s + map[Kind]string{Disk: diskExt, Snapshot: diskExt, Meta: metaExt, Was: wasExt, Gone: goneExt, Away: awayExt}[n.Kind]
}

// Temp is the name while it is being made.
func (n Name) Temp() Name {
	n.Tmp = true
	return n
}

// Base is the name of the file of which n is a child.
func (n Name) Base() Name {
	n.Child = 0
	return n
}

var (
	child  = regexp.MustCompile(`-([0-9]{6})$`)
	beside = regexp.MustCompile(`-(flat|delta|sesparse|ctk|digest|rdm|rdmp|s[0-9]{3}|f[0-9]{3})$`)
)

// Parse reads the name of a file. What is beside a disk, and what is none of
// ours, is not ok.
func Parse(file string) (n Name, ok bool) {
	ext := path.Ext(file)
	base := strings.TrimSuffix(file, ext)
	switch ext {
	case diskExt:
		if beside.MatchString(base) {
			return n, false
		}
		if m := child.FindStringSubmatch(base); m != nil {
			if n.Child, _ = strconv.Atoi(m[1]); n.Child == 0 {
				return n, false
			}
			base = strings.TrimSuffix(base, m[0])
		}
	case metaExt:
		n.Kind = Meta
	case wasExt:
		n.Kind = Was
	case goneExt:
		n.Kind = Gone
	case awayExt:
		n.Kind = Away
	default:
		return n, false
	}
	if n.Kind == Disk || n.Kind == Meta || n.Kind == Away {
		base, n.Tmp = strings.CutSuffix(base, "."+tmp)
	}
	part := strings.Split(base, ".")
	n.Volume = volspec.VolumeID(part[0])
	if checkVolume(n.Volume) != nil {
		return Name{}, false
	}
	return n, n.parseRest(part[1:]) && n.String() == file
}

func (n *Name) parseRest(part []string) bool {
	if len(part) == 0 {
		return n.Kind == Disk || n.Kind == Meta || n.Kind == Away
	}
	if len(part) != 2 || n.Kind == Meta || !hypervisor.ValidID(part[0]) {
		return false
	}
	n.ID = volspec.SnapshotID(part[0])
	if part[1] == snap && n.Kind == Disk {
		n.Kind = Snapshot
		return true
	}
	var err error
	n.N, err = strconv.Atoi(part[1])
	return err == nil && n.N > 0
}

// Check validates r's form. Ids of volumes that look like the files which
// vSphere puts beside disks are invalid.
func Check(r hypervisor.Ref) error {
	if err := r.Check(); err != nil {
		return err
	}
	return checkVolume(r.Volume)
}

func checkVolume(v volspec.VolumeID) error {
	if !hypervisor.ValidID(string(v)) || child.MatchString(string(v)) || beside.MatchString(string(v)) {
		return errkind.New(errkind.Invalid, "volume id %q cannot be used on vSphere: it reads like a file that belongs to a disk", v)
	}
	return nil
}

// Path writes where a file is, as vSphere does: "[datastore] folder/file".
func Path(datastore, file string) string { return "[" + datastore + "] " + file }

var where = regexp.MustCompile(`^\[([^\]]+)\] ?(.*)$`)

// Split is the inverse of Path.
func Split(p string) (datastore, file string, ok bool) {
	m := where.FindStringSubmatch(p)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// RefOf tells of which disk a file is the running one, wherever in its life;
// not ok for what is not the disk of a volume.
func RefOf(p string) (r hypervisor.Ref, ok bool) {
	ds, file, ok := Split(p)
	if !ok {
		return r, false
	}
	dir, base := path.Split(file)
	group, ok := strings.CutPrefix(path.Clean(dir), Root+"/")
	if !ok || !hypervisor.ValidID(group) {
		return r, false
	}
	n, ok := Parse(base)
	if !ok || n.Kind != Disk || n.Tmp {
		return r, false
	}
	return hypervisor.Ref{Datastore: ds, Group: volspec.VMGroupID(group), Volume: n.Volume}, true
}
