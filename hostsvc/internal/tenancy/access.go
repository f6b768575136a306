package tenancy

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// AddAccess adds an access row for a datastore or a special name, and with
// DefaultDatastore makes that the vmgroup's default. Without AllowCreate the
// row gives no create right. An existing row is exists.
func (s *Service) AddAccess(ctx context.Context, c volspec.Caller, group string, req wire.SetAccess) error {
	var ds string
	prepare := func() (err error) {
		ds, err = s.rowDatastore(ctx, req)
		return err
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup access add", words(req)), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		_, found, err := accessRow(tx, g, ds)
		if err != nil {
			return err
		}
		if found {
			return errkind.New(errkind.Exists, "Access privilege for (%s, %s) already exists", g.Name, ds)
		}
		return putRow(tx, g, volspec.Access{Group: g.ID, Datastore: ds}, req)
	})
}

// SetAccess changes an access row: nil keeps a value, a zero size removes a
// limit.
func (s *Service) SetAccess(ctx context.Context, c volspec.Caller, group, datastore string, req wire.SetAccess) error {
	req.Datastore = datastore
	prepare := func() error {
		if req.DefaultDatastore && datastore == volspec.AllDatastores {
			return allAsDefault()
		}
		return nil
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup access set", words(req)), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		row, found, err := accessRow(tx, g, datastore)
		if err != nil {
			return err
		}
		if !found {
			return noRow(g, datastore)
		}
		return putRow(tx, g, row, req)
	})
}

// RemoveAccess removes an access row, but not that of the default datastore.
func (s *Service) RemoveAccess(ctx context.Context, c volspec.Caller, group, datastore string) error {
	return s.verb(ctx, line(ctx, c, group, "vmgroup access rm", datastore), nil, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		row, found, err := accessRow(tx, g, datastore)
		switch {
		case err != nil:
			return err
		case row.Datastore == defaultDatastore(g):
			return errkind.New(errkind.Invalid, "Removing of access privilege to 'default_datastore' is not supported: "+
				"give vmgroup %s another default datastore first", g.Name)
		case !found:
			return noRow(g, datastore)
		}
		return tx.DeleteAccess(g.ID, row.Datastore)
	})
}

func noRow(g volspec.VMGroup, datastore string) error {
	return errkind.New(errkind.NotFound, "No access privilege exists for (%s, %s)", g.Name, datastore)
}

func allAsDefault() error {
	return errkind.New(errkind.Invalid, "Cannot use %s as default datastore. Please use specific datastore name or %s special datastore",
		volspec.AllDatastores, volspec.VMDatastore)
}

func (s *Service) rowDatastore(ctx context.Context, req wire.SetAccess) (string, error) {
	if req.DefaultDatastore && req.Datastore == volspec.AllDatastores {
		return "", allAsDefault()
	}
	return s.datastore(ctx, req.Datastore)
}

// accessRow finds a row by its datastore; upper and lower case are the same
// where no row is spelt exactly so. The datastore itself may be gone.
func accessRow(tx Tx, g volspec.VMGroup, datastore string) (volspec.Access, bool, error) {
	rows, err := tx.AccessRows(g.ID)
	if err != nil {
		return volspec.Access{}, false, err
	}
	i := slices.IndexFunc(rows, func(a volspec.Access) bool { return a.Datastore == datastore })
	if i < 0 {
		i = slices.IndexFunc(rows, func(a volspec.Access) bool { return strings.EqualFold(a.Datastore, datastore) })
	}
	if i < 0 {
		return volspec.Access{}, false, nil
	}
	return rows[i], true, nil
}

// putRow writes row as req changes it.
func putRow(tx Tx, g volspec.VMGroup, row volspec.Access, req wire.SetAccess) error {
	if req.AllowCreate != nil {
		row.AllowCreate = *req.AllowCreate
	}
	if req.MaxSize != nil {
		row.MaxSize = *req.MaxSize
	}
	if req.TotalSize != nil {
		row.TotalSize = *req.TotalSize
	}
	if err := checkLimits(row); err != nil {
		return err
	}
	if err := tx.PutAccess(row); err != nil || !req.DefaultDatastore {
		return err
	}
	g.DefaultDatastore = row.Datastore
	return tx.PutGroup(g)
}

func checkLimits(row volspec.Access) error {
	for _, size := range []volspec.Size{row.MaxSize, row.TotalSize} {
		if size < 0 || size > volspec.MaxSize {
			return errkind.New(errkind.Invalid, "%s", badVolumeSize)
		}
	}
	if row.TotalSize > 0 && row.MaxSize > row.TotalSize {
		return errkind.New(errkind.Invalid, "Volume max size %sMB exceeds the total size %sMB", mb(row.MaxSize), mb(row.TotalSize))
	}
	return nil
}

func mb(s volspec.Size) string {
	return strconv.FormatFloat(float64(s)/float64(volspec.MiB), 'f', -1, 64)
}

// words is what the audit log says of a change to a row.
func words(req wire.SetAccess) string {
	list := []string{req.Datastore}
	if req.AllowCreate != nil {
		list = append(list, "allow-create="+strconv.FormatBool(*req.AllowCreate))
	}
	if req.MaxSize != nil {
		list = append(list, "volume-maxsize="+req.MaxSize.Table())
	}
	if req.TotalSize != nil {
		list = append(list, "volume-totalsize="+req.TotalSize.Table())
	}
	if req.DefaultDatastore {
		list = append(list, "default-datastore")
	}
	return strings.Join(list, " ")
}
