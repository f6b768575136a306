package vcenter

import (
	"context"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// farewell is how long giving something back may take.
const farewell = 2 * time.Second

// stream is a collector over all objects of some kinds. It dies with its session.
type stream struct {
	s       *conn
	view    *view.ContainerView
	pc      *property.Collector
	version string
}

func openStream(ctx context.Context, s *conn, of ...types.PropertySpec) (*stream, error) {
	var kinds []string
	for _, p := range of {
		kinds = append(kinds, p.Type)
	}
	v, err := view.NewManager(s.vim).CreateContainerView(ctx, s.vim.ServiceContent.RootFolder, kinds, true)
	if err != nil {
		return nil, err
	}
	st := &stream{s: s, view: v}
	if st.pc, err = property.DefaultCollector(s.vim).Create(ctx); err != nil {
		st.close(ctx)
		return nil, err
	}
	_, err = st.pc.CreateFilter(ctx, types.CreateFilter{Spec: types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: v.Reference(), Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{v.TraversalSpec()}}},
		PropSet:   of,
	}})
	if err != nil {
		st.close(ctx)
		return nil, err
	}
	return st, nil
}

// changes hands over what has changed since the last call; at the first call,
// everything. It waits up to wait for the first change.
func (st *stream) changes(ctx context.Context, wait time.Duration, take func(types.ObjectUpdate)) error {
	seconds := int32(wait / time.Second)
	for {
		res, err := methods.WaitForUpdatesEx(ctx, st.s.vim, &types.WaitForUpdatesEx{
			This: st.pc.Reference(), Version: st.version, Options: &types.WaitOptions{MaxWaitSeconds: &seconds},
		})
		if err != nil {
			return err
		}
		set := res.Returnval
		if set == nil {
			return nil
		}
		for _, f := range set.FilterSet {
			for _, u := range f.ObjectSet {
				if err := sessionEnded(u); err != nil {
					return err
				}
				take(u)
			}
		}
		st.version = set.Version
		if set.Truncated == nil || !*set.Truncated {
			return nil
		}
		seconds = 0
	}
}

// sessionEnded: that a session has ended is told of properties as if they were
// missing.
func sessionEnded(u types.ObjectUpdate) error {
	for _, m := range u.MissingSet {
		if _, ok := m.Fault.Fault.(*types.NotAuthenticated); ok {
			return soap.WrapVimFault(m.Fault.Fault)
		}
	}
	return nil
}

// close gives back what the server keeps for st. What cannot be given back goes
// with the session.
func (st *stream) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if st.pc != nil {
		_ = st.pc.Destroy(ctx)
	}
	_ = st.view.Destroy(ctx)
}

// abandon is close for a stream that somebody may still wait on.
func (st *stream) abandon(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = st.pc.CancelWaitForUpdates(end)
	st.close(end)
}
