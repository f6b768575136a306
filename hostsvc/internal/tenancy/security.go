package tenancy

import (
	"context"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Security is what a tenant settles about who gets at its data. A file that
// declares the vmgroup says nothing of it: files are the provider's.
type Security struct {
	ContentRefused bool `json:"content_refused,omitempty"`
	FactorRequired bool `json:"factor_required,omitempty"`
}

// SetSecurity changes what is not nil. Whether the provider reads content is for
// users of the tenant alone: denied to all others.
func (s *Service) SetSecurity(ctx context.Context, c volspec.Caller, name string, req wire.UpdateSecurity) (v wire.Tenant, err error) {
	at := s.places(ctx)
	prepare := func() error {
		if req.ContentRefused != nil && (c.Admin || c.As != "") {
			return errkind.New(errkind.Denied, "whether its provider reads content is settled by vmgroup %s itself: ask an administrator of the tenant", name)
		}
		return nil
	}
	err = s.verb(ctx, line(ctx, c, name, "vmgroup security", settled(req)), prepare, func(tx Tx) error {
		g, err := find(tx, name)
		if err != nil {
			return err
		}
		if err := removing(g); err != nil {
			return err
		}
		if g.State == volspec.GroupDeleted {
			return goneTenant(g)
		}
		d, err := tx.Details(g.ID)
		if err != nil {
			return err
		}
		if req.ContentRefused != nil {
			d.Security.ContentRefused = *req.ContentRefused
		}
		if req.FactorRequired != nil {
			d.Security.FactorRequired = *req.FactorRequired
		}
		if err := tx.PutDetails(g.ID, d); err != nil {
			return err
		}
		v, err = s.tenant(tx, name, at)
		return err
	})
	return v, err
}

// settled is what the audit log says of a change.
func settled(req wire.UpdateSecurity) string {
	var words []string
	if req.ContentRefused != nil {
		words = append(words, "content-refused="+strconv.FormatBool(*req.ContentRefused))
	}
	if req.FactorRequired != nil {
		words = append(words, "factor-required="+strconv.FormatBool(*req.FactorRequired))
	}
	return strings.Join(words, " ")
}
