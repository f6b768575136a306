package backup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// awayLimit is how long jobs wait for a transporter before people are told.
const awayLimit = 10 * time.Minute

// maxWaiting bounds how many queued jobs are looked at for it.
const maxWaiting = 1000

// away tells of the vmgroups of queued jobs of which no transporter is online.
func (s *Service) away(ctx context.Context, all []job.Job) (map[volspec.VMGroupID]Away, error) {
	var groups []volspec.VMGroupID
	seen := map[volspec.VMGroupID]bool{}
	for _, j := range all {
		if j.State == job.Queued && !seen[j.Group] {
			seen[j.Group] = true
			groups = append(groups, j.Group)
		}
	}
	if s.o.Transporters == nil || len(groups) == 0 {
		return nil, nil
	}
	return s.o.Transporters.Away(ctx, groups...)
}

// sentence says what a job of the vmgroup waits for.
func (a Away) sentence(group string) string {
	if len(a.Names) == 0 {
		return fmt.Sprintf("the job waits: no transporter works for vmgroup %s, the administrator assigns one", group)
	}
	return fmt.Sprintf("the job waits: of the transporters of vmgroup %s none is online (%s); the administrator starts one, or assigns another", group, strings.Join(a.Names, ", "))
}

// presentJobs shows jobs as presentJob does, and what queued ones wait for.
func (s *Service) presentJobs(ctx context.Context, all []job.Job, name func(volspec.VMGroupID) string) ([]wire.Job, error) {
	out := make([]wire.Job, 0, len(all))
	away, err := s.away(ctx, all)
	for _, j := range all {
		w := s.presentJob(ctx, j, name(j.Group))
		if a, waits := away[j.Group]; waits && j.State == job.Queued {
			w.Warnings = append(w.Warnings, a.sentence(w.VMGroup))
		}
		out = append(out, w)
	}
	return out, err
}

// watchTransporters raises an alarm for each vmgroup whose jobs wait longer than
// awayLimit because none of its transporters is online, and clears those of
// vmgroups that do not.
func (s *Service) watchTransporters(ctx context.Context) error {
	if s.o.Transporters == nil {
		return nil
	}
	queued, err := s.o.Jobs.List(ctx, job.Query{State: job.Queued, OldestFirst: true, Limit: maxWaiting})
	if err != nil {
		return err
	}
	all, err := s.away(ctx, queued)
	if err != nil {
		return err
	}
	names, err := namesOf(ctx, s, queued, func(j job.Job) volspec.VMGroupID { return j.Group })
	if err != nil {
		return err
	}
	stand := map[string]bool{}
	for _, j := range queued {
		a, waits := all[j.Group]
		object := strings.Join(a.Names, ", ")
		id := alarmID(j.Group, alarmTransporter, object)
		if !waits || len(a.Names) == 0 || stand[id] || min(a.For, now().Sub(j.Created)) < awayLimit {
			continue
		}
		stand[id] = true
		if err := s.raise(ctx, j.Group, alarmTransporter, object, a.alarm(names[j.Group])); err != nil {
			return err
		}
	}
	var old []Alarm
	err = s.o.Store.View(ctx, func(tx Tx) (err error) {
		old, err = tx.Alarms("")
		return err
	})
	if err != nil {
		return err
	}
	for _, a := range old {
		if a.Kind != alarmTransporter || stand[a.ID] {
			continue
		}
		if err := s.clear(ctx, a.Group, a.Kind, a.Object, fmt.Sprintf("no job of vmgroup %s waits for a transporter any more", names[a.Group])); err != nil {
			return err
		}
	}
	return nil
}

func (a Away) alarm(group string) string {
	return fmt.Sprintf("jobs of vmgroup %s wait for longer than %s: none of its transporters is online (%s); start mooringd there, or assign another with `mooring transporter bind`",
		group, awayLimit, strings.Join(a.Names, ", "))
}
