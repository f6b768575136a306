package vsphere

import (
	"context"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/dockvols"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

// folderNames are the folders at the top of datastores under the names that vSphere shows
// for them: where they are objects that is a UUID, whatever name was given.
type folderNames struct {
	mu    sync.Mutex        // guards given
	given map[string]string // by datastore and shown name: the name that we gave
}

// tops are the folders at the top of a datastore in which we look for disks.
var tops = []string{root, dockvols.Root}

// shownOnly reports whether a folder can be one that has another name.
func shownOnly(folder string) bool {
	return uuid.Validate(strings.TrimPrefix(folder, "rfc4122.")) == nil
}

// asGiven is a place that vSphere shows, with the name that its folder was given.
func (v *VSphere) asGiven(ctx context.Context, at string) (string, error) {
	datastore, file, _ := vcenter.SplitPath(at)
	top, rest, ok := strings.Cut(file, "/")
	if !ok || !shownOnly(top) {
		return at, nil
	}
	given, err := v.nameGiven(ctx, datastore, top)
	if err != nil || given == "" {
		return at, err
	}
	return vcenter.Path(datastore, given+"/"+rest), nil
}

// nameGiven is the name of one of tops, "" for other folders.
func (v *VSphere) nameGiven(ctx context.Context, datastore, shown string) (string, error) {
	key := vcenter.Path(datastore, shown)
	v.names.mu.Lock()
	given, known := v.names.given[key]
	v.names.mu.Unlock()
	if known {
		return given, nil
	}
	ds, err := v.inv.Datastore(ctx, datastore)
	if errkind.Is(err, errkind.NotFound) || err == nil && !keepsObjects(ds) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, top := range tops {
		now, err := v.c.Files().Shown(ctx, ds, top)
		if errkind.Is(err, errkind.NotFound) || err == nil && now != shown {
			continue
		}
		if err != nil {
			return "", err
		}
		given = top
	}
	v.names.mu.Lock()
	defer v.names.mu.Unlock()
	if v.names.given == nil {
		v.names.given = map[string]string{}
	}
	// A UUID is never given twice.
	v.names.given[key] = given
	return given, nil
}

// devicesAsGiven writes the files of devices as asGiven does.
func (v *VSphere) devicesAsGiven(ctx context.Context, devices []types.BaseVirtualDevice) error {
	for _, d := range disksAmong(devices) {
		for _, f := range filesBehind(d.Backing) {
			at, err := v.asGiven(ctx, f.FileName)
			if err != nil {
				return err
			}
			f.FileName = at
		}
	}
	return nil
}
