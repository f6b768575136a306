package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Levels of a finding, and their order in the report: the worst first.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

var rank = map[string]int{levelError: 0, levelWarning: 1, levelOK: 2}

// Limits beyond which the doctor speaks up.
const (
	lowFree    = 20               // less than one part in 20 free is a warning
	noFree     = 256 * (1 << 20)  // less than so many bytes free is an error
	staleAfter = 15 * time.Minute // no operation takes longer
	silent     = 2 * time.Minute  // a plugin beats every few seconds
)

func (s *system) checkDatastores(ctx context.Context) ([]wire.Finding, error) {
	stores, err := s.d.volumes.Datastores(ctx)
	if err != nil {
		return nil, err
	}
	if len(stores) == 0 {
		detail, remedy := s.d.host.noDatastores()
		return []wire.Finding{{Level: levelWarning, Check: "datastores", Detail: detail, Remedy: remedy}}, nil
	}
	return datastoreFindings(stores, s.d.host.storeRemedy), nil
}

// datastoreFindings judges each datastore once; remedy is for those that are not
// online.
func datastoreFindings(stores []wire.Datastore, remedy func(wire.Datastore) string) []wire.Finding {
	found := make([]wire.Finding, 0, len(stores))
	for _, d := range stores {
		f := wire.Finding{Level: levelOK, Check: "datastore " + d.Name}
		free := fmt.Sprintf("%s of %s free", volspec.Size(d.Free).Short(), volspec.Size(d.Capacity).Short())
		switch {
		case d.State == string(hypervisor.Offline):
			f.Level, f.Detail, f.Remedy = levelError, "offline: "+d.Detail, remedy(d)
		case d.State == string(hypervisor.ReadOnlyStore):
			f.Level, f.Detail, f.Remedy = levelError, "read-only: "+d.Detail, remedy(d)
		case d.Free < noFree:
			f.Level, f.Detail, f.Remedy = levelError, free, "free space or enlarge it: writes of volumes fail when it is full"
		case d.Free < d.Capacity/lowFree:
			f.Level, f.Detail, f.Remedy = levelWarning, free, "free space or enlarge it, before writes of volumes fail"
		case d.Reflink:
			f.Detail = free + ", instant clones and snapshots"
		default:
			f.Detail = free + ", clones and snapshots are full copies of detached volumes"
		}
		found = append(found, f)
	}
	return found
}

func (s *system) checkCatalog(ctx context.Context) ([]wire.Finding, error) {
	if err := s.d.catalog.Check(ctx); err != nil {
		return nil, err
	}
	return []wire.Finding{{Level: levelOK, Check: "catalog", Detail: s.d.catalog.Place() + " is sound"}}, nil
}

// checkIntents looks for operations that should have ended.
func (s *system) checkIntents(ctx context.Context) ([]wire.Finding, error) {
	var found []wire.Finding
	err := s.d.store.View(ctx, func(tx volume.Tx) error {
		found = nil
		busy, err := tx.Volumes(volume.Filter{Busy: true})
		if err != nil {
			return err
		}
		for _, r := range busy {
			alive, err := tx.Alive(r.Op.Instance)
			if err != nil {
				return err
			}
			age := time.Since(r.Op.Started)
			if alive && age < staleAfter {
				continue
			}
			f := wire.Finding{Level: levelWarning, Check: "operations", Remedy: "bring its datastore back, or look for the reason in the log: it is settled as soon as that is possible"}
			f.Detail = fmt.Sprintf("the %s of volume %s has not ended since %s", r.Op.Kind, r.Name(), r.Op.Started.Format(time.RFC3339))
			found = append(found, f)
		}
		if len(found) == 0 {
			found = []wire.Finding{{Level: levelOK, Check: "operations", Detail: fmt.Sprintf("%d in progress, none stuck", len(busy))}}
		}
		return nil
	})
	return found, err
}

// checkAttachments compares the catalog with the hypervisor. Operations move
// both, so what differs is read twice, the second time a moment later.
func (s *system) checkAttachments(ctx context.Context) ([]wire.Finding, error) {
	first, _, err := s.attachments(ctx)
	if err != nil {
		return nil, err
	}
	if len(first) > 0 {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
	second, n, err := s.attachments(ctx)
	if err != nil {
		return nil, err
	}
	var found []wire.Finding
	for text := range second {
		if first[text] {
			found = append(found, wire.Finding{Level: levelWarning, Check: "attachments", Detail: text, Remedy: "it is put right with the next comparison; if it stays, look for the reason in the log"})
		}
	}
	if len(found) == 0 {
		found = append(found, wire.Finding{Level: levelOK, Check: "attachments", Detail: fmt.Sprintf("%d, as the hypervisor has them", n)})
	}
	return found, nil
}

// attachments describes every difference, and counts what the hypervisor has.
func (s *system) attachments(ctx context.Context) (differences map[string]bool, n int, err error) {
	devices, err := s.d.host.Attached(ctx)
	if err != nil {
		return nil, 0, err
	}
	differences = map[string]bool{}
	err = s.d.store.View(ctx, func(tx volume.Tx) error {
		clear(differences)
		held, err := tx.Volumes(volume.Filter{Held: true})
		if err != nil {
			return err
		}
		holders := map[volspec.VolumeID]volume.Record{}
		for _, r := range held {
			holders[r.ID] = r
		}
		for _, dev := range devices {
			r, known := holders[dev.Volume]
			delete(holders, dev.Volume)
			switch {
			case !known:
				differences[fmt.Sprintf("disk %s on %s is attached to a VM, the catalog says to none", dev.Volume, dev.Datastore)] = true
			case r.Holder.VM != dev.VM:
				differences[fmt.Sprintf("volume %s is attached to another VM than %s, which the catalog says", r.Name(), r.Holder.VMName)] = true
			}
		}
		for _, r := range holders {
			differences[fmt.Sprintf("volume %s is attached to %s by the catalog, to none by the hypervisor", r.Name(), r.Holder.VMName)] = true
		}
		return nil
	})
	return differences, len(devices), err
}

// checkVolumes tells of volumes that are not well, as it was last seen.
func (s *system) checkVolumes(ctx context.Context) ([]wire.Finding, error) {
	var found []wire.Finding
	err := s.d.store.View(ctx, func(tx volume.Tx) error {
		found = nil
		all, err := tx.Volumes(volume.Filter{})
		for _, r := range all {
			if r.Health != "" {
				found = append(found, healthFinding(r))
			}
		}
		return err
	})
	return found, err
}

func healthFinding(r volume.Record) wire.Finding {
	wrong, remedy, _ := strings.Cut(r.Health, "; ")
	return wire.Finding{Level: levelWarning, Check: "volume " + r.Name().String(), Detail: wrong, Remedy: remedy}
}

func (s *system) checkVMs(ctx context.Context) ([]wire.Finding, error) {
	vms, err := s.d.volumes.VMs(ctx)
	if err != nil {
		return nil, err
	}
	var found []wire.Finding
	seen := 0
	for _, vm := range vms {
		quiet := time.Since(vm.LastSeen)
		if !vm.LastSeen.IsZero() && quiet < silent {
			seen++
			continue
		}
		if vm.Attached == 0 || vm.Power == string(hypervisor.Off) || time.Since(s.started) < silent {
			continue // it has nothing to say
		}
		f := wire.Finding{Level: levelWarning, Check: "VM " + vm.Name, Remedy: "look at the plugin in that VM (docker plugin ls)"}
		f.Detail = fmt.Sprintf("holds %d volumes, and nothing was heard of its plugin since mooringd started", vm.Attached)
		if !vm.LastSeen.IsZero() {
			f.Detail = fmt.Sprintf("holds %d volumes, and nothing was heard of its plugin for %s", vm.Attached, quiet.Round(time.Second))
		}
		found = append(found, f)
	}
	return append(found, wire.Finding{Level: levelOK, Check: "virtual machines", Detail: fmt.Sprintf("%d, of which %d have been heard of lately", len(vms), seen)}), nil
}
