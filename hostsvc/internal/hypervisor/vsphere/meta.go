package vsphere

import (
	"bytes"
	"context"
	"io"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

// maxMeta bounds what is read of a metadata file; ours are below 64 KiB.
const maxMeta = 1 << 20

// PutMeta implements hypervisor.Metadata.
func (v *VSphere) PutMeta(ctx context.Context, r hypervisor.Ref, data []byte) error {
	if err := layout.Check(r); err != nil {
		return err
	}
	if _, err := v.place(ctx, r, true); err != nil {
		return err
	}
	return v.putFile(ctx, r, layout.Name{Volume: r.Volume, Kind: layout.Meta}, data)
}

// putFile replaces a small file of r, whole.
func (v *VSphere) putFile(ctx context.Context, r hypervisor.Ref, name layout.Name, data []byte) error {
	temp := fileOf(r, name.Temp())
	put := func() error {
		return v.c.Files().Put(ctx, r.Datastore, temp, bytes.NewReader(data), int64(len(data)))
	}
	err := put()
	if err != nil && !vcenter.Lost(err) {
		// The folder of a vmgroup is made with its first file.
		if err := v.c.Files().MakeFolder(ctx, r.Datastore, layout.Folder(r.Group)); err != nil {
			return err
		}
		err = put()
	}
	if err != nil {
		return err
	}
	return v.c.Files().Move(ctx, r.Datastore, temp, fileOf(r, name))
}

// meta is the metadata of a family's volume, nil when missing or unreadable.
func (v *VSphere) meta(ctx context.Context, f family) ([]byte, error) {
	name := layout.Name{Volume: f.r.Volume, Kind: layout.Meta}
	e, ok := f.files[name]
	if !ok || e.folder || e.allocated > maxMeta {
		return nil, nil
	}
	data, err := v.read(ctx, f.r.Datastore, f.file(name), maxMeta)
	if errkind.Is(err, errkind.NotFound) {
		return nil, nil
	}
	return data, err
}

// read reads a small file.
func (v *VSphere) read(ctx context.Context, datastore, file string, limit int64) ([]byte, error) {
	body, err := v.c.Files().Get(ctx, datastore, file, 0, limit)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, limit))
	return data, vcenter.Translate(err, "reading file "+vcenter.Path(datastore, file))
}
