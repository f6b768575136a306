package volume

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// toWire is the pure half of present.
func toWire(r Record, group string, keep time.Duration) wire.Volume {
	v := wire.Volume{
		ID: r.ID, Name: r.Name().String(), Volume: r.Key.Name, Datastore: r.Key.Datastore, VMGroup: group,
		State: r.State, Format: r.Format, SizeBytes: int64(r.Size), UsedBytes: int64(r.Used),
		FSBytes: int64(r.FSSize), FSNote: r.FSNote, Spec: r.Spec, CloneFrom: r.CloneFrom,
		Created: r.Created, CreatedBy: r.CreatedBy, AttachedTo: r.Holder.VMName, AttachState: attachState(r),
		AttachedAt: r.Holder.Since, Epoch: r.Holder.Epoch, Serial: r.Serial,
		TrashedAt: r.TrashedAt, Health: r.Health, ViewOf: r.ViewOf,
	}
	if v.Health == "" {
		v.Health = "ok"
	}
	if r.State == volspec.Trashed {
		v.PurgeAfter = r.TrashedAt.Add(keep)
	}
	return v
}

func attachState(r Record) string {
	switch {
	case r.Holder.VM == "":
		return "detached"
	case r.Op.Kind == OpAttach:
		return "attaching"
	case r.Op.Kind == OpDetach || r.Op.Kind == OpFence:
		return "detaching"
	}
	return "attached"
}
