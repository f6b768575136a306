package backup

import (
	"context"
	"fmt"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// setDrillResult is what the drill of a VM's point leaves for people.
type setDrillResult struct {
	Point   volspec.PointID   `json:"point"`
	Disks   []diskDrillResult `json:"disks"`
	Summary string            `json:"summary"`
}

type diskDrillResult struct {
	Label string          `json:"label"`
	Point volspec.PointID `json:"point"`
	Drilled
}

// drillSet restores the disks of a VM's point to scratch, one after the other,
// and proves each that is in order. One that is not makes the drill fail; the
// others are looked at all the same.
func (s *Service) drillSet(ctx context.Context, t task, r Repo, rp repository.Repository, p pointParams) error {
	res := setDrillResult{Point: p.Point}
	var failed error
	var bytes int64
	var found []string
	for _, id := range p.Disks {
		d, err := s.drillDisk(ctx, t, r, rp, id)
		if err != nil {
			return err
		}
		res.Disks = append(res.Disks, d)
		bytes += d.Bytes
		found = append(found, d.Label+": "+d.found())
		if d.Failed != "" {
			failed = joined(failed, errkind.New(errkind.Corrupt, "the drill of recovery point %s of %s failed at %s in step %s: %s", p.Point, p.Name, d.Label, d.Failed, d.Why))
			continue
		}
		if err := s.setProof(ctx, id, proven); err != nil {
			return err
		}
	}
	res.Summary = fmt.Sprintf("%s restored, %s compared; %s", diskCount(len(p.Disks)), amount(bytes), strings.Join(found, "; "))
	t.result(res)
	if failed != nil {
		return joined(failed, s.raise(ctx, r.Group, alarmDrill, p.Name, errkind.Text(failed)))
	}
	return s.clear(ctx, r.Group, alarmDrill, p.Name, "the drill of "+p.Name+" succeeds again")
}

func (s *Service) drillDisk(ctx context.Context, t task, r Repo, rp repository.Repository, id volspec.PointID) (diskDrillResult, error) {
	res := diskDrillResult{Point: id}
	p, err := rp.Point(ctx, id)
	if err != nil {
		return res, err
	}
	res.Label = p.Source.Name
	if vm := s.foundPoint(r, p).meta().VM; vm != nil {
		res.Label = vm.label()
	}
	if err := t.stage(ctx, "drill "+res.Label); err != nil {
		return res, err
	}
	img, err := rp.Open(ctx, id)
	if err != nil {
		return res, err
	}
	defer img.Close() //nolint:errcheck // only read
	res.Drilled, err = s.o.Files.Drill(ctx, img, true, func(done, total int64) {
		t.report(repository.Progress{Done: done, Total: total, Read: done})
	})
	return res, errkind.Wrap(errkind.Of(err), err, "%s", res.Label)
}

// found says what was checked on a disk, and what is there that was not.
func (d diskDrillResult) found() string {
	if d.Failed != "" {
		return d.Failed + ": " + d.Why
	}
	var parts []string
	for _, p := range d.Parts {
		name := p.Name
		if name != "" {
			name += " "
		}
		if p.Filesystem == "" {
			parts = append(parts, fmt.Sprintf("%sholds %s, not checked", name, p.Holds))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s%s checked and mounted, %d files", name, p.Filesystem, p.Files))
	}
	return strings.Join(parts, ", ")
}
