package backup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// States of a volume's protection.
const (
	stateUnprotected = "unprotected"
	stateOK          = "ok"
	stateLate        = "late"
	stateFailed      = "failed"
	statePending     = "pending" // a policy selects it, and there is no point yet
)

// protectionFacts are what the protection of a volume, or of a whole VM, is
// judged on.
type protectionFacts struct {
	volume   Volume
	machine  *Machine
	policies []Policy // that select it and are enabled
	newest   *Newest  // good one, in any repository
	lastJob  *job.Job // newest backup job that has ended
	now      time.Time
}

// name is that of the volume, or vm/NAME.
func (f protectionFacts) name() string {
	if f.machine != nil {
		return machineName(f.machine.Name)
	}
	return f.volume.Name.String()
}

func (f protectionFacts) group() volspec.VMGroupID {
	if f.machine != nil {
		return f.machine.Group.ID
	}
	return f.volume.Group.ID
}

// since is when the first point was wanted: the age of a VM is not known, so
// it has the time from when its policies were last changed.
func (f protectionFacts) since() time.Time {
	at := f.volume.Created
	if f.machine != nil {
		for _, p := range f.policies {
			if p.Changed.After(at) {
				at = p.Changed
			}
		}
	}
	return at
}

// judgeProtection is pure. A volume is late when its newest good point is
// older than the smallest RPO; a new volume has that long for its first one.
func judgeProtection(f protectionFacts) wire.Protection {
	p := wire.Protection{Volume: f.name(), VolumeID: f.volume.ID, State: stateOK, AgeSeconds: -1, Policies: []string{}}
	if f.machine != nil {
		p.VMID = f.machine.ID
	}
	var rpo time.Duration
	for _, pol := range f.policies {
		p.Policies = append(p.Policies, pol.Name)
		if d, err := duration(pol.Spec.RPO); err == nil && d > 0 && (rpo == 0 || d < rpo) {
			rpo = d
		}
	}
	p.RPOSeconds = int64(rpo / time.Second)
	since := f.since()
	if f.newest != nil {
		since = f.newest.Created
		p.LastPoint, p.LastState = f.newest.Created, string(f.newest.State)
		p.AgeSeconds = int64(f.now.Sub(since) / time.Second)
	}
	failed := false
	if f.lastJob != nil {
		p.LastJob = string(f.lastJob.State)
		failed = f.lastJob.State == job.Failed
		if failed {
			p.LastProblem = f.lastJob.Error
		}
	}
	switch {
	case len(f.policies) == 0:
		p.State = stateUnprotected
	case rpo > 0 && f.now.Sub(since) > rpo:
		p.State = stateLate
	case failed:
		p.State = stateFailed
	case f.newest == nil:
		p.State = statePending
	}
	return p
}

// gather collects the facts of all volumes of a vmgroup, or of all vmgroups.
func (s *Service) gather(ctx context.Context, g volspec.VMGroupID) ([]protectionFacts, error) {
	volumes, err := s.o.Volumes.Volumes(ctx, g)
	if err != nil {
		return nil, err
	}
	newestJob, err := s.newestJobs(ctx, g, kindBackup)
	if err != nil {
		return nil, err
	}
	out := make([]protectionFacts, 0, len(volumes))
	at := now()
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = out[:0]
		policies, err := policiesBy(tx, g)
		if err != nil {
			return err
		}
		newest, err := tx.Newest(g)
		if err != nil {
			return err
		}
		for _, v := range volumes {
			f := protectionFacts{volume: v, now: at, lastJob: newestJob[string(v.ID)]}
			for _, p := range policies[v.Group.ID] {
				if enabled(p) && selects(p, v) {
					f.policies = append(f.policies, p)
				}
			}
			if n, ok := newest[v.ID]; ok {
				f.newest = &n
			}
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	machines, err := s.gatherMachines(ctx, g, at)
	return append(out, machines...), err
}

// policiesBy are the policies of a vmgroup, or with "" of all, by vmgroup.
func policiesBy(tx Tx, g volspec.VMGroupID) (map[volspec.VMGroupID][]Policy, error) {
	all, err := tx.Policies(g)
	by := map[volspec.VMGroupID][]Policy{}
	for _, p := range all {
		by[p.Group] = append(by[p.Group], p)
	}
	return by, err
}

// newestJobs are the jobs of a kind that ended last, by what they were of.
func (s *Service) newestJobs(ctx context.Context, g volspec.VMGroupID, kind string) (map[string]*job.Job, error) {
	ended, err := s.o.Jobs.List(ctx, job.Query{Group: g, Kind: kind, Last: true})
	if err != nil {
		return nil, err
	}
	newest := map[string]*job.Job{}
	for i := range ended { // newest first
		if newest[ended[i].Object] == nil {
			newest[ended[i].Object] = &ended[i]
		}
	}
	return newest, nil
}

// newestGood is the newest point of a volume that can be restored, nil for
// none.
func newestGood(tx Tx, v Volume) (*Newest, error) {
	all, err := tx.Points(PointQuery{Group: v.Group.ID, VolumeID: v.ID, Good: true, Limit: 1})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &Newest{all[0].ID, all[0].Created, all[0].State}, nil
}

// rank puts first what needs somebody.
var rank = map[string]int{stateUnprotected: 0, stateLate: 1, stateFailed: 2, statePending: 3, stateOK: 4}

// Protection is how every volume of a vmgroup is protected, the worst first.
func (s *Service) Protection(ctx context.Context, group string) ([]wire.Protection, error) {
	var id volspec.VMGroupID
	if err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error { id = g.ID; return nil }); err != nil {
		return nil, err
	}
	facts, err := s.gather(ctx, id)
	out := make([]wire.Protection, 0, len(facts))
	for _, f := range facts {
		if f.shown() {
			out = append(out, judgeProtection(f))
		}
	}
	slices.SortStableFunc(out, func(a, b wire.Protection) int {
		if d := rank[a.State] - rank[b.State]; d != 0 {
			return d
		}
		return strings.Compare(a.Volume, b.Volume)
	})
	return out, err
}

// watchAges raises an alarm for every volume whose newest good point is older
// than its RPO, whatever the reason, and clears those that are over.
func (s *Service) watchAges(ctx context.Context) error {
	begun := time.Now()
	facts, err := s.gather(ctx, "")
	if err != nil {
		return err
	}
	s.census.put(countStates(facts), begun)
	var standing []Alarm
	err = s.o.Store.View(ctx, func(tx Tx) error {
		standing, err = tx.Alarms("")
		return err
	})
	if err != nil {
		return err
	}
	said := map[string]string{}
	for _, a := range standing {
		said[a.ID] = a.Detail
	}
	late, known := map[string]bool{}, map[string]bool{}
	for _, f := range facts {
		name := f.name()
		known[alarmID(f.group(), alarmDrill, name)] = true
		for _, kind := range []string{kindBackup, kindMachine, kindVerify, kindDrill, kindCopy} {
			known[alarmID(f.group(), alarmJob, jobOf(kind, name))] = true
		}
		p := judgeProtection(f)
		if p.State != stateLate {
			continue
		}
		id := alarmID(f.group(), alarmRPO, p.Volume)
		late[id] = true
		detail := fmt.Sprintf("%s has had no good recovery point for longer than its RPO of %s", thing(p.Volume), time.Duration(p.RPOSeconds)*time.Second)
		if p.LastProblem != "" {
			detail += "; its last backup failed: " + p.LastProblem
		}
		if said[id] == detail {
			continue // it stands as it is
		}
		if err := s.raise(ctx, f.group(), alarmRPO, p.Volume, detail); err != nil {
			return err
		}
	}
	for _, a := range standing {
		switch {
		case err != nil:
			return err
		case a.Kind == alarmRPO && !late[a.ID]:
			err = s.clear(ctx, a.Group, a.Kind, a.Object, thing(a.Object)+" is within its RPO again")
		case aboutVolume(a) && !known[a.ID]: // which is gone
			err = s.clear(ctx, a.Group, a.Kind, a.Object, "")
		}
	}
	return err
}

// thing is the name of a volume or VM in a sentence.
func thing(name string) string {
	if vm, ok := strings.CutPrefix(name, machinePrefix); ok {
		return "VM " + vm
	}
	return "volume " + name
}

// aboutVolume reports whether an alarm ends with its volume or VM.
func aboutVolume(a Alarm) bool {
	return a.Kind == alarmDrill || a.Kind == alarmJob && !strings.HasPrefix(a.Object, jobOf(kindMaintain, ""))
}

// Summary is what one volume shows of its backups.
func (s *Service) Summary(ctx context.Context, g volspec.VMGroupID, id volspec.VolumeID) (wire.VolumeBackup, error) {
	v, err := s.o.Volumes.Volume(ctx, id)
	if errkind.Is(err, errkind.NotFound) || err == nil && v.Group.ID != g {
		return wire.VolumeBackup{State: stateUnprotected}, nil
	}
	if err != nil {
		return wire.VolumeBackup{}, err
	}
	last, err := s.o.Jobs.List(ctx, job.Query{Group: g, Kind: kindBackup, Object: string(id), Ended: true, Limit: 1})
	if err != nil {
		return wire.VolumeBackup{}, err
	}
	f := protectionFacts{volume: v, now: now()}
	if len(last) > 0 {
		f.lastJob = &last[0]
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		policies, err := tx.Policies(g)
		if err != nil {
			return err
		}
		f.policies = nil
		for _, p := range policies {
			if enabled(p) && selects(p, v) {
				f.policies = append(f.policies, p)
			}
		}
		f.newest, err = newestGood(tx, v)
		return err
	})
	p := judgeProtection(f)
	out := wire.VolumeBackup{Policy: strings.Join(p.Policies, ", "), LastSuccess: p.LastPoint, State: p.State}
	if f.newest != nil {
		out.LastPoint = string(f.newest.ID)
	}
	return out, err
}
