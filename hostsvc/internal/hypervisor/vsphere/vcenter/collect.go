package vcenter

import (
	"context"
	"sync"

	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/types"
)

// views are the views of a session, by the kind of object. They go with it.
type views struct {
	mu     sync.Mutex // guards byKind
	byKind map[string]*view.ContainerView
}

func (v *views) get(kind string) *view.ContainerView {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byKind[kind]
}

// put is the view that is kept: the first one of its kind, or the new one.
func (v *views) put(kind string, c *view.ContainerView) *view.ContainerView {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byKind == nil {
		v.byKind = map[string]*view.ContainerView{}
	}
	if v.byKind[kind] == nil {
		v.byKind[kind] = c
	}
	return v.byKind[kind]
}

func (v *views) drop(kind string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byKind, kind)
}

// collect reads properties of all objects of a kind below the datacenter.
func (c *Client) collect(ctx context.Context, what, kind string, properties []string, to any) error {
	return c.again(ctx, func() error {
		return c.in(ctx, what, func(ctx context.Context, s *conn) error {
			v, err := s.viewOf(ctx, kind)
			if err != nil {
				return err
			}
			err = v.Retrieve(ctx, []string{kind}, properties, to)
			if Is[*types.ManagedObjectNotFound](err) { // the view itself, or what has just been deleted
				s.views.drop(kind)
				if v, err = s.viewOf(ctx, kind); err == nil {
					err = v.Retrieve(ctx, []string{kind}, properties, to)
				}
			}
			return err
		})
	})
}

func (s *conn) viewOf(ctx context.Context, kind string) (*view.ContainerView, error) {
	if v := s.views.get(kind); v != nil {
		return v, nil
	}
	v, err := view.NewManager(s.vim).CreateContainerView(ctx, s.dc.Reference(), []string{kind}, true)
	if err != nil {
		return nil, err
	}
	kept := s.views.put(kind, v)
	if kept != v {
		(&stream{s: s, view: v}).close(ctx)
	}
	return kept, nil
}
