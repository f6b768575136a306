package hypervisor

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// OldVolume is a volume that the vSphere Docker Volume Service made.
type OldVolume struct {
	Ref                 // what it becomes: the same at every call
	File      string    // where it lies, in words
	Name      string    // without datastore
	GroupName string    // of its vmgroup
	Created   time.Time // zero when it is not known
	CreatedBy string    // name of a VM, "" when it is not known
	Size      volspec.Size
	Spec      volspec.Spec // what its options say, as far as they are known here
	Note      string       // what is to be known of it, such as options that are left out
	Refusal   string       // why it cannot be taken over, and what to do; "" when it can
}

// OldVolumes is optional; ask with As: volumes of an installation of the
// vSphere Docker Volume Service.
type OldVolumes interface {
	// OldVolumes finds those on a datastore. names are of vmgroups, for those
	// that the datastore does not name itself. With record, each that can be is
	// taken over without a copy: it becomes the disk of its Ref, with the
	// metadata that record makes. It goes on after one that fails, which then has
	// a Refusal, and can be repeated. None there: none.
	OldVolumes(ctx context.Context, datastore string, names map[volspec.VMGroupID]string, record func(OldVolume) ([]byte, error)) ([]OldVolume, error)
}
