package vcenter

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/types"
)

// tagged is how long something about tags may take: nothing important waits for
// it.
const tagged = 30 * time.Second

// TagsOf are the tags of an object, as category/name, in order. An ESXi host
// without vCenter has none.
func (c *Client) TagsOf(ctx context.Context, ref types.ManagedObjectReference) (names []string, err error) {
	err = c.tagging(ctx, "reading the tags of "+ref.Value, func(ctx context.Context, m *tags.Manager) error {
		names = nil
		ids, err := m.ListAttachedTags(ctx, ref)
		if err != nil || len(ids) == 0 {
			return err
		}
		categories, err := m.GetCategories(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			t, err := m.GetTag(ctx, id)
			if err != nil {
				return err
			}
			for _, category := range categories {
				if category.ID == t.CategoryID {
					names = append(names, category.Name+"/"+t.Name)
				}
			}
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

// PutTags attaches those tags that there are to an object, and returns the
// others.
func (c *Client) PutTags(ctx context.Context, ref types.ManagedObjectReference, names []string) (missing []string, err error) {
	err = c.tagging(ctx, "attaching tags to "+ref.Value, func(ctx context.Context, m *tags.Manager) error {
		missing = nil
		categories, err := m.GetCategories(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			category, tag, _ := strings.Cut(name, "/")
			i := slices.IndexFunc(categories, func(c tags.Category) bool { return c.Name == category })
			if i < 0 {
				missing = append(missing, name)
				continue
			}
			all, err := m.GetTagsForCategory(ctx, categories[i].ID)
			if err != nil {
				return err
			}
			n := slices.IndexFunc(all, func(t tags.Tag) bool { return t.Name == tag })
			if n < 0 {
				missing = append(missing, name)
				continue
			}
			if err := m.AttachTag(ctx, all[n].ID, ref); err != nil {
				return err
			}
		}
		return nil
	})
	return missing, err
}

// tagging does something with tags. They are of another service, with a session
// of its own.
func (c *Client) tagging(ctx context.Context, what string, f func(ctx context.Context, m *tags.Manager) error) error {
	return c.in(ctx, what, func(ctx context.Context, s *conn) error {
		if !s.vim.IsVC() {
			return nil
		}
		password, err := c.o.Password()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, tagged)
		defer cancel()
		r := rest.NewClient(s.vim)
		if err := r.Login(ctx, url.UserPassword(c.o.User, password)); err != nil {
			return err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			_ = r.Logout(end)
		}()
		return f(ctx, tags.NewManager(r))
	})
}
