package hostclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"mooring.dev/mooring/pkg/wire"
)

// ListQuery chooses a part of a list; zero fields choose all of it.
type ListQuery struct {
	Words string // in one of a row's members
	Sort  string // member of the rows; "": by what tells one from another
	Desc  bool
	After string // Next of the part before
	Limit int
}

func (q ListQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Words, "sort": q.Sort, "after": q.After} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Desc {
		v.Set("desc", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// List is a part of a list. Next is "" for the last.
type List[T any] struct {
	Rows []T
	Next string
}

func list[T any](ctx context.Context, a *Admin, v url.Values, path ...string) (l List[T], err error) {
	_, err = a.do(ctx, call{method: http.MethodGet, path: path, query: v, into: &l.Rows, next: &l.Next})
	return l, err
}

// UserList is a part of the users of a vmgroup, or with "" of the master.
func (a *Admin) UserList(ctx context.Context, vmgroup string, q ListQuery) (List[wire.User], error) {
	return list[wire.User](ctx, a, q.values(), below(vmgroup, "users")...)
}

// PolicyList is a part of the backup policies of a vmgroup.
func (a *Admin) PolicyList(ctx context.Context, group string, q ListQuery) (List[wire.Policy], error) {
	return list[wire.Policy](ctx, a, q.values(), "vmgroups", group, "policies")
}

// RepositoryList is a part of the repositories of a vmgroup, or with "" of all.
func (a *Admin) RepositoryList(ctx context.Context, vmgroup string, q ListQuery) (List[wire.Repository], error) {
	return list[wire.Repository](ctx, a, q.values(), below(vmgroup, "repositories")...)
}

// AlarmList is a part of the alarms that the caller sees.
func (a *Admin) AlarmList(ctx context.Context, q ListQuery) (List[wire.Alarm], error) {
	return list[wire.Alarm](ctx, a, q.values(), "alarms")
}

// TransporterList is a part of the transporters that the caller sees.
func (a *Admin) TransporterList(ctx context.Context, q ListQuery) (List[wire.Transporter], error) {
	return list[wire.Transporter](ctx, a, q.values(), "transporters")
}
