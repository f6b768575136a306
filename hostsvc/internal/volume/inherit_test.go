package volume_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// heir has volumes of an old installation on its datastores.
type heir struct {
	hypervisor.Hypervisor
	left []hypervisor.OldVolume
}

func (h *heir) Unwrap() hypervisor.Hypervisor { return h.Hypervisor }

func (h *heir) OldVolumes(ctx context.Context, datastore string, _ map[volspec.VMGroupID]string, record func(hypervisor.OldVolume) ([]byte, error)) (found []hypervisor.OldVolume, err error) {
	for _, o := range h.left {
		if o.Refusal == "" && record != nil {
			meta, err := record(o)
			if err != nil {
				o.Refusal = errkind.Text(err)
			} else if err := h.PutMeta(ctx, o.Ref, meta); err != nil {
				return found, err
			} else if err := h.Create(ctx, o.Ref, o.Size, volspec.Thin); err != nil {
				return found, err
			}
		}
		found = append(found, o)
	}
	return found, nil
}

func TestVolumesOfAnOldInstallation(t *testing.T) {
	w := newWorld(t)
	old := func(id volspec.VolumeID, name, refusal string) hypervisor.OldVolume {
		return hypervisor.OldVolume{
			Ref: hypervisor.Ref{Datastore: "fast", Group: "5f0d2c3e-9a51-4c1f-8c3e-6b7212345678", Volume: id}, File: "dockvols/x/" + name + ".vmdk",
			Name: name, GroupName: "old-team", Size: volspec.GiB, Spec: volspec.Spec{FSType: volspec.XFS}.Defaulted(), CreatedBy: "photon1", Refusal: refusal,
		}
	}
	scan := func(req wire.Scan) (actions map[string]string, details map[string]string) {
		r, err := w.svc.Scan(t.Context(), admin, "fast", req)
		require.NoError(t, err)
		actions, details = map[string]string{}, map[string]string{}
		for _, i := range r.Items {
			actions[i.Name], details[i.Name] = i.Action, i.Detail
		}
		return actions, details
	}
	_, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{Dockvols: true})
	requireKind(t, errkind.Unsupported, err)

	w.front = &heir{w.hv, []hypervisor.OldVolume{
		old("a0000000-0000-4000-8000-00000000000a", "db", ""), old("a0000000-0000-4000-8000-00000000000b", "busy", "VM photon2 has it: detach it first"),
		old("a0000000-0000-4000-8000-00000000000c", "not/valid", ""),
	}}
	w.start(t)
	actions, details := scan(wire.Scan{Dockvols: true})
	assert.Equal(t, map[string]string{"db@fast": "adoptable", "busy@fast": "refused", "not/valid@fast": "refused"}, actions)
	assert.Equal(t, "at dockvols/x/db.vmdk", details["db@fast"])
	assert.Contains(t, details["busy@fast"], "VM photon2 has it")
	nothing, _ := scan(wire.Scan{})
	assert.Empty(t, nothing, "nothing was changed")

	actions, _ = scan(wire.Scan{Dockvols: true, Adopt: true})
	assert.Equal(t, map[string]string{"db@fast": "adopted", "busy@fast": "refused", "not/valid@fast": "refused"}, actions)
	v, err := w.svc.Get(t.Context(), admin, "old-team", "db@fast")
	require.NoError(t, err)
	assert.Equal(t, "photon1", v.CreatedBy)
	assert.Equal(t, volspec.Formatted, v.Format)
	assert.EqualValues(t, volspec.GiB, v.SizeBytes)
}
