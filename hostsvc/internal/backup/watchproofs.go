package backup

import (
	"context"
	"fmt"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	// proofBatch bounds how many verifications of these are open at a time.
	proofBatch = 10
	proofPage  = 200
)

// watchProofs verifies points that are older than Options.VerifyAfter and were
// never verified, oldest first. Each is tried once a day, and none of a
// repository that cannot be read, so that they do not keep others waiting.
func (s *Service) watchProofs(ctx context.Context) error {
	if s.o.VerifyAfter <= 0 {
		return nil
	}
	open, err := s.o.Jobs.List(ctx, job.Query{Kind: kindVerify, Open: true})
	if err != nil {
		return err
	}
	repos, err := s.everyRepo(ctx)
	if err != nil {
		return err
	}
	readable := map[volspec.RepositoryID]bool{}
	for _, r := range repos {
		readable[r.ID] = r.State == repoOnline || r.State == repoReadOnly
	}
	q := PointQuery{Before: now().Add(-s.o.VerifyAfter), Unverified: true, Limit: proofPage}
	for room := proofBatch - len(open); room > 0; {
		var page []Point
		err := s.o.Store.View(ctx, func(tx Tx) (err error) {
			page, err = tx.Points(q)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		last := page[len(page)-1]
		q.After, q.AfterID = last.Created, last.ID
		page, err = permitted(ctx, s, false, page, func(p Point) volspec.VMGroupID { return p.Group })
		if err != nil {
			return err
		}
		for _, pt := range page {
			if !readable[pt.Repository] || room == 0 {
				continue
			}
			fresh, err := s.prove(ctx, pt)
			if err != nil {
				return err
			}
			if fresh {
				room--
			}
		}
	}
	return nil
}

// prove enqueues the verification of a point, and tells whether that was not
// done today already.
func (s *Service) prove(ctx context.Context, pt Point) (fresh bool, err error) {
	p := paramsOf(pt)
	p.Mode = repository.Full
	j, err := s.enqueue(ctx, job.Job{
		Group: pt.Group, Kind: kindVerify, Object: objectOf(p), Priority: 5,
		Unique: fmt.Sprintf("proof %s %s", pt.ID, now().Format(time.DateOnly)),
	}, p)
	return !j.Ended(), err
}
