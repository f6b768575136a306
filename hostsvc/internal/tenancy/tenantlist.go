package tenancy

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The orders of a list of tenants.
const (
	SortName    = "name"
	SortHealth  = "health"  // the good first
	SortStorage = "storage" // bytes in repositories
	SortUsers   = "users"
)

var sorts = []string{SortName, SortHealth, SortStorage, SortUsers}

// TenantQuery selects tenants; zero fields select all.
type TenantQuery struct {
	Sort   string // "": by name
	Desc   bool
	Words  string // in name, description or e-mail
	State  string
	Health string
	Label  string
	After  string // cursor of the page before
	Limit  int    // 0: 50
}

// TenantFilter is a TenantQuery as the catalog gets it.
type TenantFilter struct {
	Sort   string
	Desc   bool
	Words  string // in lower case
	State  *volspec.GroupState
	Health *int // rank: 0 good, 1 notices, 2 alarms
	Label  string
	After  *TenantPlace
	Limit  int
}

// TenantPlace is a place in the order of a list: that of a tenant when it was
// listed. Name is its key in the order by name, Number in all others.
type TenantPlace struct {
	Name   string            `json:"name,omitempty"`
	Number int64             `json:"number,omitempty"`
	ID     volspec.VMGroupID `json:"id"`
}

// healths are the words for health, by rank.
var healths = []string{wire.HealthGood, wire.HealthNotices, wire.HealthAlarms}

const (
	tenantPage    = 50
	maxTenantPage = 500
)

// cursor is the place of the last tenant of a page, and the order it is one in.
type cursor struct {
	Sort string `json:"sort"`
	Desc bool   `json:"desc,omitempty"`
	TenantPlace
}

// Tenants lists tenants in pages. A tenant that is there all the time appears in
// exactly one of them, whatever is made or removed meanwhile; one whose place
// in the order changes may appear twice or not at all.
func (s *Service) Tenants(ctx context.Context, q TenantQuery) (out wire.TenantList, err error) {
	f, err := q.filter()
	if err != nil {
		return out, err
	}
	at := s.places(ctx)
	err = s.o.Store.View(ctx, func(tx Tx) error {
		page, places, total, err := tx.TenantPage(f)
		if err != nil {
			return err
		}
		out = wire.TenantList{Total: total}
		if out.Tenants, err = s.present(tx, page, at); err != nil {
			return err
		}
		if n := len(places); n == f.Limit {
			out.Next = cursor{f.Sort, f.Desc, places[n-1]}.encode()
		}
		return nil
	})
	return out, err
}

func (q TenantQuery) filter() (TenantFilter, error) {
	f := TenantFilter{Sort: cmp.Or(q.Sort, SortName), Desc: q.Desc, Words: strings.ToLower(q.Words), Label: q.Label, Limit: min(cmp.Or(q.Limit, tenantPage), maxTenantPage)}
	if !slices.Contains(sorts, f.Sort) {
		return f, errkind.New(errkind.Invalid, "sort %q is not valid: use %s", q.Sort, strings.Join(sorts, ", "))
	}
	switch state := volspec.GroupState(q.State); {
	case q.State == "":
	case q.State == wire.TenantEnabled:
		f.State = new(volspec.GroupEnabled)
	case state == volspec.GroupDisabled || state == volspec.GroupDeleted:
		f.State = &state
	default:
		return f, errkind.New(errkind.Invalid, "state %q is not valid: use %s, %s or %s", q.State, wire.TenantEnabled, wire.TenantDisabled, wire.TenantDeleted)
	}
	if q.Health != "" {
		rank := slices.Index(healths, q.Health)
		if rank < 0 {
			return f, errkind.New(errkind.Invalid, "health %q is not valid: use %s", q.Health, strings.Join(healths, ", "))
		}
		f.Health = &rank
	}
	if q.After == "" {
		return f, nil
	}
	var c cursor
	data, err := base64.RawURLEncoding.DecodeString(q.After)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || c.Sort != f.Sort || c.Desc != f.Desc {
		return f, errkind.New(errkind.Invalid, "the cursor %q is not one that a list in this order gave", q.After)
	}
	f.After = &c.TenantPlace
	return f, nil
}

func (c cursor) encode() string {
	data, _ := json.Marshal(c) // strings and numbers only: cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}
