package volume

import (
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Foreign is a volume that another product made, and that is to be adopted.
type Foreign struct {
	ID        volspec.VolumeID // that it gets here
	Name      string
	Group     volspec.VMGroupID
	GroupName string
	Size      volspec.Size
	Spec      volspec.Spec
	Created   time.Time // zero: now
	CreatedBy string    // "": admin
}

// RecordOf is the metadata record with which the disk of a foreign volume is
// adopted by Scan. It is formatted: nothing of ours ever makes a filesystem on
// it. What Scan would not believe is invalid.
func RecordOf(f Foreign) ([]byte, error) {
	r := Record{
		ID: f.ID, Key: Key{Group: f.Group, Name: f.Name}, State: volspec.Ready, Format: volspec.Formatted,
		Size: f.Size, Spec: f.Spec, Created: f.Created, CreatedBy: f.CreatedBy,
	}
	r.Spec.Size = f.Size
	if r.Created.IsZero() {
		r.Created = now()
	}
	if r.CreatedBy == "" {
		r.CreatedBy = "admin"
	}
	data, err := encodeMeta(r, f.GroupName, nil)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "encode metadata")
	}
	if _, err := decodeMeta(data); err != nil {
		return nil, errkind.New(errkind.Invalid, "volume %q cannot be adopted: %s", f.Name, errkind.Text(err))
	}
	return data, nil
}
