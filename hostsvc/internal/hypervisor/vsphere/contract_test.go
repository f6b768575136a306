package vsphere

import (
	"testing"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/simvc/control"
)

func TestContractOfFirstClassDisks(t *testing.T) { contract(t, FCD, false) }
func TestContractOfVMDKs(t *testing.T)           { contract(t, VMDK, false) }
func TestContractOnESXi(t *testing.T)            { contract(t, VMDK, true) }

// On vSAN and vVols there are no files behind disks.
func TestContractOfObjects(t *testing.T) {
	s := objectSite(t, FCD, control.Options{})
	hypervisortest.RunContent(t, s.fixture)
}

func contract(t *testing.T, disk string, esx bool) {
	s := newSite(t, disk, control.Options{ESX: esx})
	hypervisortest.Run(t, s.fixture)
}
