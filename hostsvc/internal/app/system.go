package app

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// system is the service's view of itself.
type system struct {
	d       *daemon
	started time.Time
}

var _ api.System = (*system)(nil)

// Ready is nil once recovery has ended and the catalog answers.
func (s *system) Ready(ctx context.Context) error {
	if err := s.d.gate.check(); err != nil {
		return err
	}
	return s.d.store.View(ctx, func(volume.Tx) error { return nil })
}

// Status is cheap enough to be asked with every reading of the metrics.
func (s *system) Status(ctx context.Context) (wire.Status, error) {
	st := wire.Status{
		Version: s.d.version, PID: os.Getpid(), Started: s.started, Ready: s.d.gate.check() == nil,
		Hypervisor: s.d.config().Hypervisor, Catalog: s.d.catalog.Place(), Config: s.d.path, LogLevel: log.Level(),
		Problems: []string{},
	}
	counts, err := s.counts(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	st.Counts = counts
	stock, err := s.d.backups.service.Stock(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	maps.Copy(st.Counts, stock)
	stores, err := s.d.volumes.Datastores(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	st.Counts["datastores"] = int64(len(stores))
	st.Counts["volumes"] = -counts["trashed"]
	for _, d := range stores { // each counts its volumes of every state
		st.Counts["volumes"] += int64(d.Volumes)
	}
	for _, f := range datastoreFindings(stores, s.d.host.storeRemedy) {
		if f.Level != levelOK {
			st.Problems = append(st.Problems, f.Check+": "+f.Detail)
		}
	}
	return st, nil
}

func (s *system) counts(ctx context.Context) (map[string]int64, error) {
	vms, err := s.d.host.VMs(ctx)
	if err != nil {
		return nil, err
	}
	n := map[string]int64{"vms": int64(len(vms))}
	err = s.d.store.View(ctx, func(tx volume.Tx) error {
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		held, err := tx.Volumes(volume.Filter{Held: true})
		if err != nil {
			return err
		}
		trash, err := tx.Volumes(volume.Filter{States: []volspec.State{volspec.Trashed, volspec.Deleting}})
		if err != nil {
			return err
		}
		n["vmgroups"], n["attached"], n["trashed"] = int64(len(groups)), int64(len(held)), int64(len(trash))
		return nil
	})
	return n, err
}

// Doctor examines everything the service depends on. A check that cannot be
// made is a finding, not an error.
func (s *system) Doctor(ctx context.Context) ([]wire.Finding, error) {
	var all []wire.Finding
	for _, check := range []struct {
		name string
		run  func(context.Context) ([]wire.Finding, error)
	}{
		{"datastores", s.checkDatastores},
		{"catalog", s.checkCatalog},
		{"operations", s.checkIntents},
		{"attachments", s.checkAttachments},
		{"volumes", s.checkVolumes},
		{"virtual machines", s.checkVMs},
		{"certificates of VMs", s.checkGuests},
		{"hypervisor", s.d.host.findings},
		{"sockets", s.checkSockets},
		{"clock", s.checkClock},
		{"backup", s.checkBackups},
	} {
		found, err := check.run(ctx)
		if err != nil {
			found = append(found, wire.Finding{Level: levelError, Check: check.name, Detail: "cannot be examined: " + err.Error()})
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(a, b wire.Finding) int { return rank[a.Level] - rank[b.Level] })
	return all, nil
}
