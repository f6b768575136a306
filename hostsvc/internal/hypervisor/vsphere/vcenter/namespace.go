package vcenter

import (
	"context"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"

	"mooring.dev/mooring/pkg/errkind"
)

// Shown is the name under which vSphere shows a folder at the top of a datastore
// that keeps objects: both names lead to it. Absent: not-found.
func (f Files) Shown(ctx context.Context, ds Datastore, folder string) (string, error) {
	what := "looking at folder " + Path(ds.Name, folder)
	var found string
	err := f.c.again(ctx, func() error {
		return f.c.in(ctx, what, func(ctx context.Context, s *conn) (err error) {
			if s.vim.ServiceContent.DatastoreNamespaceManager == nil {
				return errkind.New(errkind.NotFound, "%s: this version of vSphere has no other names for it", what)
			}
			found, err = object.NewDatastoreNamespaceManager(s.vim).ConvertNamespacePathToUuidPath(ctx, s.dc, strings.TrimSuffix(ds.URL, "/")+"/"+folder)
			return err
		})
	})
	return path.Base(found), err
}
