package enroll

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	GuestVM(vm volspec.VMID) (VM, error)
	GuestVMs() ([]VM, error) // by id
	PutGuestVM(v VM) error   // inserts or replaces by ID

	GuestCertificate(serial string) (Certificate, error)
	// GuestCertificates lists those of one VM, or with "" of all, the oldest
	// first.
	GuestCertificates(vm volspec.VMID) ([]Certificate, error)
	PutGuestCertificate(c Certificate) error      // inserts or replaces by Serial
	DeleteGuestCertificate(serial string) error   // absent: nil
	TrimGuestCertificates(before time.Time) error // deletes what expired before

	GuestCode(id string) (Code, error)
	GuestCodes() ([]Code, error) // by VM
	// PutGuestCode inserts or replaces by VM: each has one code at most.
	PutGuestCode(c Code) error
	DeleteGuestCode(vm volspec.VMID) error // absent: nil

	// Members lists a group's, or with "" those of all groups, by name.
	Members(g volspec.VMGroupID) ([]volspec.Member, error)
	GroupOfVM(vm volspec.VMID) (volspec.VMGroup, error)
	AddAudit(a volspec.Audit) error
}

// VM is what is known of a VM's enrolment.
type VM struct {
	ID         volspec.VMID
	Name       string // when it enrolled
	Generation int64  // counts enrolments; certificates of earlier ones are dead
	Revoked    bool   // until it enrols again
	Refused    string // why a certificate of it raised an alarm, "" when none did
	RefusedAt  time.Time
}

// Certificate is one that was issued. It can be used from its first use on
// until the first use of a newer one replaces it.
type Certificate struct {
	Serial     string // hexadecimal
	VM         volspec.VMID
	Generation int64
	Issued     time.Time
	Expires    time.Time
	Used       bool
	Replaced   bool
}

// Code is an open one-time code. The secret is not in it.
type Code struct {
	VM       volspec.VMID
	Name     string // of the VM
	ID       string
	Verifier []byte
	Placed   bool // in the VM by its hypervisor, from where it must be removed
	Expires  time.Time
	Attempts int
}

func absent(err error) bool { return errkind.Is(err, errkind.NotFound) }
