// Package dockvols takes over the volumes of an installation of vSphere Docker
// Volume Service: disks in the folder dockvols of a datastore, in a folder of
// their vmgroup, each with its metadata beside it. Nothing is copied: a disk
// is moved to where we keep disks, with a record beside it from which a scan
// of the datastore takes it into the catalog.
package dockvols

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/volspec"
)

// Root is the folder on a datastore in which everything is.
const Root = "dockvols"

// DefaultGroup is the vmgroup of VMs that are in none, and of disks that lie
// directly in Root, as old releases had them.
const DefaultGroup volspec.VMGroupID = "11111111-1111-1111-1111-111111111111"

// DefaultGroupName is its name.
const DefaultGroupName = "_DEFAULT"

// File is a file on the datastore, below Root.
type File struct {
	Path string // from the root of the datastore on
	Size int64
}

// Volume is what was found of one volume.
type Volume struct {
	File      string // of its disk, from the root of the datastore on
	Name      string
	Group     volspec.VMGroupID
	GroupName string
	ID        volspec.VolumeID // that it gets with us: the same at every attempt
	Size      volspec.Size
	Spec      volspec.Spec // what its options say, as far as we know them
	Created   time.Time    // zero when it is not known
	CreatedBy string       // name of a VM, "" when it is not known
}

// namespace of the ids of volumes that are taken over.
var namespace = uuid.MustParse("8f3f6d0e-5d3b-5c62-9a51-4c1f1c3e6b72")

// idOf follows from the place, so that an attempt that broke off goes on where
// it was. datastore is what stays with the storage when it is renamed.
func idOf(datastore, file string) volspec.VolumeID {
	return volspec.VolumeID(uuid.NewSHA1(namespace, []byte(datastore+"\x00"+file)).String())
}

var (
	groupFolder = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	delta       = regexp.MustCompile(`^(.+)-[0-9]{6}\.vmdk$`)
	beside      = regexp.MustCompile(`-(delta|ctk|digest|flat|sesparse)\.vmdk$`)
)

// maxDescriptor: larger files with the name of a disk are none.
const maxDescriptor = 5000

// tree is the files of a datastore in order.
type tree struct {
	disks   []string            // descriptors
	deltas  map[string]bool     // descriptors that have children
	sides   map[string][]string // metadata files by folder
	aliases map[volspec.VMGroupID]string
}

// arrange sorts the files. A folder with the name of a vmgroup is a link to
// the folder with its id and shows the same files.
func arrange(files []File) tree {
	t := tree{deltas: map[string]bool{}, sides: map[string][]string{}, aliases: map[volspec.VMGroupID]string{}}
	inside := map[string][]string{} // base names by folder
	for _, f := range files {
		dir, base := path.Dir(f.Path), path.Base(f.Path)
		inside[dir] = append(inside[dir], base)
	}
	for _, f := range files {
		dir, base := path.Dir(f.Path), path.Base(f.Path)
		if dir != Root && (path.Dir(dir) != Root || !groupFolder.MatchString(path.Base(dir))) {
			continue
		}
		switch m := delta.FindStringSubmatch(base); {
		case path.Ext(base) == ".vmfd":
			t.sides[dir] = append(t.sides[dir], base)
		case path.Ext(base) != ".vmdk" || beside.MatchString(base):
		case m != nil && slices.Contains(inside[dir], m[1]+".vmdk"):
			t.deltas[path.Join(dir, m[1]+".vmdk")] = true
		case f.Size <= maxDescriptor:
			t.disks = append(t.disks, f.Path)
		}
	}
	slices.Sort(t.disks)
	t.nameGroups(inside)
	return t
}

func (t *tree) nameGroups(inside map[string][]string) {
	for _, names := range inside {
		slices.Sort(names)
	}
	for link, names := range inside {
		if path.Dir(link) != Root || groupFolder.MatchString(path.Base(link)) {
			continue
		}
		var same []string
		for dir, others := range inside {
			if groupFolder.MatchString(path.Base(dir)) && slices.Equal(names, others) {
				same = append(same, path.Base(dir))
			}
		}
		if len(same) == 1 && volspec.CheckVMGroupName(path.Base(link)) == nil {
			t.aliases[volspec.VMGroupID(strings.ToLower(same[0]))] = path.Base(link)
		}
	}
}

// sideOf is the metadata file of a disk: its name, a dash, 16 digits, ".vmfd".
func (t tree) sideOf(disk string) (string, bool) {
	dir, base := path.Dir(disk), strings.TrimSuffix(path.Base(disk), ".vmdk")
	for _, s := range t.sides[dir] {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(s, ".vmfd"), base)
		if ok && (rest == "" || hash.MatchString(rest)) {
			return path.Join(dir, s), true
		}
	}
	return "", false
}

var hash = regexp.MustCompile(`^-[0-9a-fA-F]{8,40}$`)

// groupOf is the vmgroup of a disk by its folder.
func (t tree) groupOf(disk string, names map[volspec.VMGroupID]string) (volspec.VMGroupID, string) {
	dir := path.Dir(disk)
	if dir == Root {
		return DefaultGroup, DefaultGroupName
	}
	id := volspec.VMGroupID(strings.ToLower(path.Base(dir)))
	if id == DefaultGroup {
		return id, DefaultGroupName
	}
	if name := names[id]; name != "" {
		return id, name
	}
	if name := t.aliases[id]; name != "" {
		return id, name
	}
	return id, "vmgroup-" + string(id[:8])
}
