package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. One that is confined to a vmgroup reads that one's
// chain alone, whatever it is asked for.
type Tx interface {
	GroupByName(name string) (volspec.VMGroup, error)
	// AuditPage selects lines, newest first. next is the cursor of the page that
	// follows, "" for none. A cursor of one vmgroup's lines tells nothing of
	// others.
	AuditPage(q Query) (lines []Line, next string, err error)
	// AuditAfter selects lines behind seq, oldest first. After does not count.
	AuditAfter(q Query, seq int64) ([]Line, error)
	// AuditChains lists the chains by name, the service's own first.
	AuditChains() ([]Chain, error)
	// AuditChain are lines of a chain behind a link, by link.
	AuditChain(g volspec.VMGroupID, link int64, limit int) ([]Line, error)
	AddAudit(a volspec.Audit) error
}

// Query selects lines; zero fields select everything.
type Query struct {
	Group   volspec.VMGroupID
	VMGroup string // as the lines name it; for a vmgroup that is gone
	Actor   string
	Action  string // or its beginning
	Outcome string
	Object  string
	Since   time.Time
	Until   time.Time // exclusive
	After   string
	Limit   int
}

// Chain is one chain. Name is its vmgroup's now, or of its last line if the
// vmgroup is gone.
type Chain struct {
	Group volspec.VMGroupID
	Name  string
	Gone  bool
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	// piece is how many lines an export or a check reads at a time, so that it
	// keeps no transaction open.
	piece = 1000
)

// Service reads the audit log. It is safe for concurrent use.
type Service struct{ store Store }

// New returns a service that does nothing until it is called.
func New(s Store) *Service { return &Service{s} }

// Page is a part of the log, newest first: for a user of a tenant its vmgroup's,
// for others all or the one that vmgroup names.
func (s *Service) Page(ctx context.Context, vmgroup string, q Query) (wire.AuditPage, error) {
	page := wire.AuditPage{Entries: []wire.AuditEntry{}}
	q.Limit = min(q.Limit, maxLimit)
	if q.Limit < 1 {
		q.Limit = defaultLimit
	}
	err := s.store.View(ctx, func(tx Tx) error {
		page.Entries = page.Entries[:0]
		q, err := of(ctx, tx, vmgroup, q)
		if err != nil {
			return err
		}
		lines, next, err := tx.AuditPage(q)
		for _, l := range lines {
			page.Entries = append(page.Entries, wire.AuditEntry(l.Audit))
		}
		page.Next = next
		return err
	})
	return page, err
}

// of binds q to a vmgroup. One that is gone is known by its name, to those who
// may see all.
func of(ctx context.Context, tx Tx, vmgroup string, q Query) (Query, error) {
	if vmgroup == "" {
		return q, nil
	}
	g, err := tx.GroupByName(vmgroup)
	if _, confined := volspec.Confined(ctx); errkind.Is(err, errkind.NotFound) && !confined {
		q.VMGroup = vmgroup
		return q, nil
	}
	q.Group = g.ID
	return q, err
}

// Export writes what Page selects, oldest first, one JSON object a line, with
// what a check of the chain needs.
func (s *Service) Export(ctx context.Context, vmgroup string, q Query, w io.Writer) error {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	q.Limit = piece
	for seq := int64(0); ; {
		var lines []Line
		err := s.store.View(ctx, func(tx Tx) error {
			q, err := of(ctx, tx, vmgroup, q)
			if err != nil {
				return err
			}
			lines, err = tx.AuditAfter(q, seq)
			return err
		})
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := out.Encode(wire.AuditLine{AuditEntry: wire.AuditEntry(l.Audit), Chain: string(l.Group), Link: l.Link, Hash: l.Hash}); err != nil {
				return err
			}
		}
		if _, err := w.Write(visible.JSON(b.Bytes())); err != nil {
			return err
		}
		b.Reset()
		if len(lines) < piece {
			return nil
		}
		seq = lines[len(lines)-1].Seq
	}
}

// Refused writes down what was refused before any use case saw it. The request
// may be over.
func (s *Service) Refused(ctx context.Context, c volspec.Caller, vmgroup, action, object string, refusal error) {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Request = time.Now().UTC().Truncate(time.Microsecond), vmgroup, action, object, log.Request(ctx)
	a.Outcome, a.Detail = string(errkind.Of(refusal)), errkind.Text(refusal)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.store.Update(ctx, func(tx Tx) error { return tx.AddAudit(a) }); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Error("audit line was not written")
	}
}

// chains are those that a check is about.
func chains(ctx context.Context, tx Tx, vmgroup string) ([]Chain, error) {
	all, err := tx.AuditChains()
	if err != nil || vmgroup == "" {
		return all, err
	}
	g, err := tx.GroupByName(vmgroup)
	if _, confined := volspec.Confined(ctx); errkind.Is(err, errkind.NotFound) && !confined {
		return slices.DeleteFunc(all, func(c Chain) bool { return !c.Gone || c.Name != vmgroup }), nil
	}
	return slices.DeleteFunc(all, func(c Chain) bool { return c.Group != g.ID }), err
}
