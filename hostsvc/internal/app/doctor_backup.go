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
	alarms, err := b.Alarms(ctx, "")
	for _, a := range alarms {
		if a.Kind == "repository-offline" {
			continue // told above
		}
		found = append(found, wire.Finding{Level: levelError, Check: "alarm " + a.Kind, Detail: a.VMGroup + ": " + a.Detail, Remedy: "see `mooring alarm ls`"})
	}
	return found, err
}
