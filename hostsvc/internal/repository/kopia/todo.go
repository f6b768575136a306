package kopia

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
)

func (r *Repository) Verify(ctx context.Context, id volspec.PointID, v repository.Verify, report repository.Report) (repository.Verified, error) {
	panic("todo")
}
func (r *Repository) Copy(ctx context.Context, point volspec.PointID, dst repository.Repository, id, parent volspec.PointID, limit int64, report repository.Report) (repository.Point, error) {
	panic("todo")
}
func (r *Repository) Maintain(ctx context.Context, full bool) (repository.Maintained, error) {
	panic("todo")
}
func (r *Repository) Status(ctx context.Context) (repository.Status, error) { panic("todo") }
