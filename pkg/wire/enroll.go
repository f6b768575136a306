package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Enroll asks for a VM's first certificate, on a TLS channel and without one.
// Which VM it is follows from the code. See package invite for the proof.
type Enroll struct {
	Code    string `json:"code"`    // id of the one-time code
	Proof   []byte `json:"proof"`   // that the caller has it
	Request []byte `json:"request"` // certificate request, PKCS #10 in DER
}

// Renew asks for a new certificate, on a channel with a good one.
type Renew struct {
	Request []byte `json:"request"`
}

// Certificate is a new certificate of the calling VM. It is to be renewed at
// RenewAfter.
type Certificate struct {
	Certificate []byte    `json:"certificate"` // X.509 in DER
	Authority   []byte    `json:"authority"`   // that issued it
	Name        string    `json:"name"`        // of the VM
	Expires     time.Time `json:"expires"`
	RenewAfter  time.Time `json:"renew_after"`
}

// Invite asks for a one-time code for a VM. GuestInfo has its hypervisor place
// the code in the VM.
type Invite struct {
	GuestInfo bool `json:"guestinfo,omitempty"`
}

// Invitation is everything that a VM needs to enrol. Code is empty when it was
// placed in the VM.
type Invitation struct {
	VM      volspec.VMID `json:"vm"`
	Name    string       `json:"name"`
	URL     string       `json:"url"`
	CA      string       `json:"ca"` // fingerprint of the service's authority
	Code    string       `json:"code,omitempty"`
	Expires time.Time    `json:"expires"`
	Placed  bool         `json:"placed,omitempty"`
}
