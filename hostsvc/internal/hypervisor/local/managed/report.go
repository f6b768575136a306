package managed

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
)

// Report is how a managed datastore fares.
type Report struct {
	Store
	Image    string
	Provided volspec.Size // what the image may take
	Taken    volspec.Size // what it takes now
	Below    volspec.Size // free on the file system that it lies on
	Problem  error        // why it is not as configured, nil when it is
}

// Short is how much more room below the datastore may need than there is.
func (r Report) Short() volspec.Size { return max(0, r.Provided-r.Taken-r.Below) }

// Reports are those of all datastores, by name.
func (k *Keeper) Reports() []Report {
	k.mu.Lock()
	stores, failed := maps.Clone(k.stores), maps.Clone(k.failed)
	k.mu.Unlock()
	var all []Report
	for _, s := range stores {
		r := Report{Store: s, Image: s.image(), Provided: s.Size, Problem: failed[s.Name].err}
		var st unix.Stat_t
		if unix.Stat(r.Image, &st) == nil {
			r.Provided, r.Taken = volspec.Size(st.Size), volspec.Size(st.Blocks)*512
		}
		var below unix.Statfs_t
		if unix.Statfs(filepath.Dir(r.Image), &below) == nil {
			r.Below = volspec.Size(below.Bavail) * volspec.Size(below.Bsize)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Report) int { return strings.Compare(a.Name, b.Name) })
	return all
}
