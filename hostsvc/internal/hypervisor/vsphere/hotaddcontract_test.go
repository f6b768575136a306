package vsphere

import (
	"testing"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/simvc/control"
)

func TestContractOfATransporter(t *testing.T) {
	s := newTransported(t, FCD, control.Options{})
	hypervisortest.RunContent(t, func(t *testing.T) hypervisortest.Fixture {
		t.Cleanup(func() { s.empty(t) })
		return s.fixture(t)
	})
}
