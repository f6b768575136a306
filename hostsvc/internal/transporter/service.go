package transporter

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Options are the parts and settings of a Service.
type Options struct {
	Store       Store
	Name        string // of this one; "": the built-in one
	Description string // of this one, as its configuration says
	Instance    string // of this process, unique
	Host        string
	Version     string
	Beat        time.Duration // between two signs of life; 0: 10 s
	Expire      time.Duration // without one it is offline; 0: four beats
}

// Service is the transporter use cases, and the sign of life of this one. All
// methods are safe for concurrent use.
type Service struct{ o Options }

// New returns a service that does nothing until it is called.
func New(o Options) *Service {
	o.Name = cmp.Or(o.Name, wire.BuiltInTransporter)
	o.Beat = cmp.Or(o.Beat, 10*time.Second)
	o.Expire = cmp.Or(o.Expire, 4*o.Beat)
	return &Service{o: o}
}

// List tells of the transporters that work for a vmgroup, or with "" of all.
// Of a vmgroup's it tells nothing about other vmgroups, and a tenant's user
// nothing about machines of the provider.
func (s *Service) List(ctx context.Context, c volspec.Caller, group string) (out []wire.Transporter, err error) {
	out = []wire.Transporter{}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		var id volspec.VMGroupID
		if group != "" {
			g, err := find(tx, group)
			if err != nil {
				return err
			}
			id = g.ID
		}
		out, err = list(tx, id)
		return err
	})
	for i := range out {
		if !c.Admin {
			out[i].Host, out[i].Version = "", ""
		}
	}
	return out, err
}

func list(tx Tx, g volspec.VMGroupID) ([]wire.Transporter, error) {
	out := []wire.Transporter{}
	clock, err := tx.Clock()
	if err != nil {
		return out, err
	}
	all, err := tx.Transporters()
	if err != nil {
		return out, err
	}
	bindings, err := tx.Bindings(g)
	if err != nil {
		return out, err
	}
	running, err := tx.RunningJobs()
	for _, t := range all {
		w := shown(t, clock)
		for _, b := range bindings {
			if b.Transporter == t.Name {
				w.Tenants = append(w.Tenants, b.Name)
			}
		}
		if g != "" && len(w.Tenants) == 0 {
			continue
		}
		for _, r := range running {
			if _, its := t.Body.Instances[r.Instance]; its && (g == "" || r.Group == g) {
				w.Jobs += r.Jobs
			}
		}
		out = append(out, w)
	}
	return out, err
}

func shown(t Transporter, clock time.Time) wire.Transporter {
	w := wire.Transporter{
		Name: t.Name, BuiltIn: t.Name == wire.BuiltInTransporter, Description: t.Body.Description,
		State: wire.TransporterOffline, Seen: t.Seen, Host: t.Body.Host, Version: t.Body.Version, Tenants: []string{},
	}
	if t.Expires.After(clock) {
		w.State = wire.TransporterOnline
	}
	return w
}

// Update changes what is not nil: the description. That of a configuration
// counts again when it says another one.
func (s *Service) Update(ctx context.Context, c volspec.Caller, name string, req wire.UpdateTransporter) (w wire.Transporter, err error) {
	err = s.verb(ctx, line(ctx, c, "", "transporter update", name), func(tx Tx) error {
		t, err := transporter(tx, name)
		if err != nil {
			return err
		}
		if req.Description != nil {
			if err := checkDescription(*req.Description); err != nil {
				return err
			}
			t.Body.Description = *req.Description
		}
		if err := tx.PutTransporter(t); err != nil {
			return err
		}
		all, err := list(tx, "")
		i := slices.IndexFunc(all, func(w wire.Transporter) bool { return w.Name == name })
		if i >= 0 {
			w = all[i]
		}
		return err
	})
	return w, err
}

// Remove forgets a transporter. The built-in one, one that works for a vmgroup
// and one that is online cannot be removed.
func (s *Service) Remove(ctx context.Context, c volspec.Caller, name string) error {
	return s.verb(ctx, line(ctx, c, "", "transporter rm", name), func(tx Tx) error {
		if name == wire.BuiltInTransporter {
			return errkind.New(errkind.Denied, "transporter %s cannot be removed: it is part of the service; take vmgroups away from it with `mooring transporter bind`", name)
		}
		t, err := transporter(tx, name)
		if err != nil {
			return err
		}
		all, err := tx.Bindings("")
		if err != nil {
			return err
		}
		var names []string
		for _, b := range all {
			if b.Transporter == name {
				names = append(names, b.Name)
			}
		}
		if len(names) > 0 {
			return errkind.New(errkind.InUse, "transporter %s works for vmgroup %s: bind it to another transporter first", name, strings.Join(names, ", "))
		}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		if t.Expires.After(clock) {
			return errkind.New(errkind.InUse, "transporter %s is online: stop mooringd on %s first", name, cmp.Or(t.Body.Host, "its machine"))
		}
		return tx.DeleteTransporter(name)
	})
}

// Set binds a vmgroup to transporters, these and no others, and tells of them.
// Without any its jobs wait. Jobs that run go on where they are. What a
// configuration file declares is changed there only: denied.
func (s *Service) Set(ctx context.Context, c volspec.Caller, group string, names []string) (out []wire.Transporter, err error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	err = s.verb(ctx, line(ctx, c, group, "transporter bind", strings.Join(names, " ")), func(tx Tx) error {
		g, err := find(tx, group)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := transporter(tx, name); err != nil {
				return err
			}
		}
		declared, err := tx.BoundByFile(g)
		if err == nil && declared {
			err = errkind.New(errkind.Denied, "the transporters of vmgroup %s are declared in %s: change them there and reload", g.Name, g.Source)
		}
		if err != nil {
			return err
		}
		if err := tx.Bind(g.ID, names); err != nil {
			return err
		}
		out, err = list(tx, g.ID)
		return err
	})
	return out, err
}

// find reads a vmgroup by name.
func find(tx Tx, name string) (volspec.VMGroup, error) {
	g, err := tx.GroupByName(name)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return g, err
}

func transporter(tx Tx, name string) (Transporter, error) {
	t, err := tx.Transporter(name)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "transporter %s not found: see `mooring transporter ls`", name)
	}
	return t, err
}

// maxDescription bounds a description.
const maxDescription = 256

func checkDescription(text string) error {
	if volspec.WrongText(text, maxDescription, nil) != "" {
		return errkind.New(errkind.Invalid, "a description of a transporter is one line of at most %d characters: write a shorter one", maxDescription)
	}
	return nil
}

// verb is one audited change; a refusal is audited too.
func (s *Service) verb(ctx context.Context, a volspec.Audit, fn func(Tx) error) error {
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.AddAudit(a)
	})
	if err == nil {
		log.G(ctx).WithField(log.Op, a.Action).Info("transporters changed")
		return nil
	}
	a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := s.o.Store.Update(brief, func(tx Tx) error { return tx.AddAudit(a) }); e != nil {
		log.G(ctx).WithError(e).Error("audit line was not written")
	}
	return err
}

func line(ctx context.Context, c volspec.Caller, group, action, object string) volspec.Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Outcome, a.Request = time.Now().UTC().Truncate(time.Microsecond), group, action, object, "ok", log.Request(ctx)
	return a
}
