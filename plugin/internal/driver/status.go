package driver

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Status is what docker volume inspect shows of a volume: the field names of
// the vSphere Docker Volume Service, and ours. mounts is how often this guest
// uses it. Times are RFC 3339. It names nothing of other vmgroups.
func Status(v wire.Volume, mounts int) map[string]any {
	s := v.Spec.Defaulted()
	m := map[string]any{
		// The old names.
		"status":        "detached",
		"created":       created(v),
		"created by VM": v.CreatedBy,
		"datastore":     v.Datastore,
		"capacity": map[string]any{
			"size":      volspec.Size(v.SizeBytes).Short(),
			"allocated": volspec.Size(v.UsedBytes).Short(),
		},
		"diskformat": s.DiskFormat,
		"attach-as":  s.AttachAs,
		"access":     s.Access,
		"clone-from": orNone(v.CloneFrom),
		// Ours.
		"id":         string(v.ID),
		"name":       v.Name,
		"vmgroup":    v.VMGroup,
		"state":      string(v.State),
		"size-bytes": v.SizeBytes,
		"used-bytes": v.UsedBytes,
		"snapshots":  v.Snapshots,
		"mounts":     mounts,
		"options":    v.Spec.Options(),
		"health":     v.Health,
	}
	set := func(key, value string) {
		if value != "" {
			m[key] = value
		}
	}
	set("fstype", s.FSType)
	set("vsan-policy-name", s.StoragePolicy)
	set("message", v.FSNote)
	if v.AttachedTo != "" {
		m["status"] = "attached"
		m["attached to VM"] = v.AttachedTo
		m["attached-since"] = stamp(v.AttachedAt)
	}
	if v.FSBytes > 0 {
		m["filesystem-bytes"] = v.FSBytes
	}
	if v.ViewOf != "" {
		m["view-of"] = string(v.ViewOf)
	}
	if b := v.Backup; b != nil {
		m["backup"] = map[string]any{"policy": orNone(b.Policy), "last-success": orNone(stamp(b.LastSuccess)), "state": b.State}
	}
	if v.Health == "" {
		m["health"] = "ok"
	}
	return m
}

func created(v wire.Volume) string { return stamp(v.Created) }

// stamp is RFC 3339 or nothing: Docker refuses a whole answer for a time it
// cannot read.
func stamp(t time.Time) string {
	if t.IsZero() || t.Year() > 9999 || t.Year() < 0 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}
