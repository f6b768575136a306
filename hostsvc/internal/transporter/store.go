// Package transporter knows the processes that move the data of backups, which
// of them are online, and for which vmgroups they work. Every mooringd is one:
// that of the service itself is "built-in", others on the same catalog have
// names of their own.
//
// Each tells the catalog every few seconds that it lives, on the catalog's
// clock; one that does not is offline soon. Which jobs it takes is decided where
// jobs are taken, by the bindings kept here; see package job.
package transporter

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Transporter is one in the catalog.
type Transporter struct {
	Name     string
	Instance string    // of mooringd that last gave a sign of life
	Seen     time.Time // on the catalog's clock; zero: never
	Expires  time.Time // it is online until then, unless it is seen again
	Body     Body
}

// Body is the part of a Transporter that is only read whole.
type Body struct {
	Description string `json:"description"`
	Declared    string `json:"declared"` // the description that its configuration last said
	Host        string `json:"host"`
	Version     string `json:"version"`
	// Instances are the processes that run it, and until when each is online.
	Instances map[string]time.Time `json:"instances,omitempty"`
}

// Binding is a vmgroup and a transporter that works for it.
type Binding struct {
	Group       volspec.VMGroupID
	Name        string // of the vmgroup
	Transporter string
}

// Running are the jobs that an instance works on for one vmgroup.
type Running struct {
	Instance string
	Group    volspec.VMGroupID
	Jobs     int
}

// Store is the catalog as this package sees it; see volume.Store.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	GroupByName(name string) (volspec.VMGroup, error)
	// Clock is the time on the clock that all processes on the catalog share.
	Clock() (time.Time, error)

	Transporters() ([]Transporter, error) // by name
	Transporter(name string) (Transporter, error)
	PutTransporter(t Transporter) error // inserts or replaces by name
	DeleteTransporter(name string) error
	// Bindings lists those of a vmgroup, or with "" all, by transporter and name of
	// the vmgroup.
	Bindings(g volspec.VMGroupID) ([]Binding, error)
	// BoundByFile tells whether a configuration file says which transporters a
	// vmgroup has.
	BoundByFile(g volspec.VMGroup) (bool, error)
	// Bind binds a vmgroup to these transporters and no others.
	Bind(g volspec.VMGroupID, names []string) error
	RunningJobs() ([]Running, error)

	AddAudit(a volspec.Audit) error
}
