package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// dialect is what differs between the backends.
type dialect struct {
	place  string
	view   sql.TxOptions
	update sql.TxOptions
	lock   string // first statement of an Update, "" when BEGIN itself locks
	clock  string // query for the time all processes agree on, in ns; "": ours
	guard  string // statements that make the audit log append-only, for the newest schema
	check  string // query for the database's own findings, one text per row
	text   func(statement string) string

	// kind classifies a driver's error; "" is for those it does not know.
	kind func(error) (errkind.Kind, string)
	// transient: the transaction is undone and may succeed when repeated.
	transient func(error) bool
	// undone: the same, for an error of COMMIT.
	undone func(error) bool
}

// failure gives a driver's error its kind and a sentence.
func (d *dialect) failure(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return errkind.Wrap(errkind.Unavailable, errors.Join(context.Cause(ctx), err),
			"the request ended before the catalog had answered: repeat it")
	}
	kind, sentence := d.kind(err)
	switch {
	case kind != "":
		return errkind.Wrap(kind, err, "%s", sentence)
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return errkind.Wrap(errkind.Unavailable, err, "the connection to the catalog (%s) was lost: repeat the command", d.place)
	}
	return errkind.Wrap(errkind.Internal, err, "the catalog (%s) refused a statement", d.place)
}

// numbered turns ? into $1, $2, … No statement of this package has a literal
// question mark.
func numbered(s string) string {
	if !strings.Contains(s, "?") {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}
