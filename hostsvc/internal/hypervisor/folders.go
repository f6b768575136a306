package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// Folders is optional; ask with As. VM.Folder says where a VM is at the moment
// of the call: one that is moved, or lies below a folder that is moved or
// renamed, is somewhere else from then on.
type Folders interface {
	// FindFolder is the absolute path of a folder of VMs that is there now. A
	// relative path begins below the folder that holds all VMs. Unknown: not-found.
	// The folder of all VMs itself: invalid.
	FindFolder(ctx context.Context, f volspec.Folder) (volspec.Folder, error)
}
