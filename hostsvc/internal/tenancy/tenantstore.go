package tenancy

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// TenantTx is the part of a transaction about what a vmgroup is beside its VMs
// and rights.
type TenantTx interface {
	// Details are those of a vmgroup, zero if they were never put.
	Details(g volspec.VMGroupID) (Details, error)
	PutDetails(g volspec.VMGroupID, d Details) error
	// GroupsByID finds those of these vmgroups that there are.
	GroupsByID(ids []volspec.VMGroupID) ([]volspec.VMGroup, error)
	// Facts counts for each of these vmgroups what belongs to it.
	Facts(ids []volspec.VMGroupID) (map[volspec.VMGroupID]Facts, error)
	// TenantPage lists the vmgroups that f selects from f.After on, each with its
	// place, and counts all that f selects.
	TenantPage(f TenantFilter) (page []Tenant, places []TenantPlace, total int, err error)
	// Deleted lists the vmgroups that were deleted until then, and those deleted
	// ones whose removal has begun, by name.
	Deleted(until time.Time) ([]volspec.VMGroup, error)
	TransporterNames() ([]string, error) // sorted
	// Bound are the transporters that a vmgroup is bound to, sorted.
	Bound(g volspec.VMGroupID) ([]string, error)
	// Bind binds a vmgroup to these transporters and no others.
	Bind(g volspec.VMGroupID, names []string) error
}
