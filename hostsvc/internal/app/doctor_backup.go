package app

import (
	"context"
	"fmt"

	"mooring.dev/mooring/pkg/wire"
)

// checkBackups looks at repositories, the protection of volumes and alarms
// that stand.
func (s *system) checkBackups(ctx context.Context) ([]wire.Finding, error) {
	b := s.d.backups.service
	repos, err := b.Repositories(ctx, "")
	if err != nil {
		return nil, err
	}
	var found []wire.Finding
	for _, r := range repos {
		f := wire.Finding{Level: levelOK, Check: "repository " + r.VMGroup + "/" + r.Name, Detail: fmt.Sprintf("%s, %d recovery points", r.State, r.Points)}
		switch {
		case r.State == "offline":
			f.Level, f.Detail, f.Remedy = levelError, r.Detail, "bring its place back, then run `mooring repository check`"
		case r.State == "read-only":
			f.Level, f.Detail, f.Remedy = levelWarning, r.Detail, "make its place writable"
		case r.VMGroup != "" && r.Kit.IsZero():
			f.Level, f.Remedy = levelWarning, "keep its recovery kit on another machine: `mooring repository kit "+r.VMGroup+"/"+r.Name+" --out=FILE`"
			f.Detail += ", its recovery kit was never exported"
		}
		found = append(found, f)
	}
	self, err := s.d.self.Show(ctx)
	if err != nil {
		return found, err
	}
	if self.Configured {
		f := wire.Finding{Level: levelOK, Check: "copies of the catalog", Detail: fmt.Sprintf("%d in %s", len(self.Copies), self.Place)}
		switch {
		case self.Error != "": // an alarm if it is not only now
			f.Level, f.Detail, f.Remedy = levelWarning, self.Error, "bring the place back, then run `mooring self-backup now`"
		case self.Kit.IsZero():
			f.Level, f.Remedy = levelWarning, "keep the kit on another machine: `mooring self-backup kit --out=FILE`"
			f.Detail += ", the kit that opens them was never exported"
		}
		found = append(found, f)
	}
	alarms, err := b.Alarms(ctx, "")
	for _, a := range alarms {
		if a.Kind == "repository-offline" {
			continue // told above
		}
		found = append(found, wire.Finding{Level: levelError, Check: "alarm " + a.Kind, Detail: a.VMGroup + ": " + a.Detail, Remedy: "see `mooring alarm ls`"})
	}
	return found, err
}
