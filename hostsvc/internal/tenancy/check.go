package tenancy

import (
	"fmt"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// The texts that users match on. Our detail follows after a colon.
const (
	noAccess      = "No access privilege exists"
	noCreate      = "No create privilege"
	noDelete      = "No delete privilege"
	badVolumeSize = "Invalid volume size specified."
	overMaxSize   = "Volume size exceeds the max volume size limit"
	overQuota     = "The total volume size exceeds the usage quota"
)

// Resolve says which datastore a name means to a caller: the one it names,
// else the vmgroup's default. _VM_DS, and no default, mean the datastore on
// which the VM lives at this moment. Whether there is such a datastore is not
// its business.
func Resolve(r volspec.Rights, c volspec.Caller, n volspec.Name) (string, error) {
	switch ds := n.Datastore; ds {
	case "":
	case volspec.VMDatastore, volspec.AllDatastores:
		return "", errkind.New(errkind.Invalid, "Datastore %s does not exist: it is a word for access rows; write the name of a datastore, or only the volume's name", ds)
	default:
		return ds, nil
	}
	if ds := defaultDatastore(r.Group); ds != volspec.VMDatastore {
		return ds, nil
	}
	if c.VMDatastore == "" {
		return "", errkind.New(errkind.Invalid, "Default datastore is not set for vmgroup %s: write the name as %s@datastore", r.Group.Name, n.Volume)
	}
	return c.VMDatastore, nil
}

// Check decides one request on facts read in the transaction that acts on it:
// u is the usage on q.Datastore without what q adds. It is pure.
//
// The first access row found decides, even if another would allow. A short
// name has only the row of the default datastore, literally _VM_DS where that
// is the default. If the vmgroup has no default, the VM's datastore stands in
// for it: row _VM_DS, else as if the name were written in full. A full name
// has the row of its datastore, else _VM_DS if the VM lives there, else
// _ALL_DS. Limits are inclusive; zero is none. A limit below the usage only
// stops growth.
//
// The admin needs no row and no right, since they give them; limits hold for
// the admin too.
//
// A vmgroup that is not enabled gets nothing new; see GroupState.
func Check(r volspec.Rights, u volspec.Usage, q volspec.Request) error {
	if err := begins(r.Group, q); err != nil {
		return err
	}
	row, found := lookup(r, q)
	switch {
	case !found && q.Caller.Admin:
		return checkSize(volspec.Access{}, r, u, q)
	case !found:
		return noRowFor(r, q)
	case row.AllowCreate || q.Caller.Admin || q.Action == volspec.DoMount:
	case q.Action == volspec.DoRemove:
		return errkind.New(errkind.Denied, "%s: vmgroup %s has no create right on %s", noDelete, r.Group.Name, rowOn(row, q))
	default:
		return errkind.New(errkind.Denied, "%s: vmgroup %s has no create right on %s", noCreate, r.Group.Name, rowOn(row, q))
	}
	return checkSize(row, r, u, q)
}

// begins refuses what may not begin in a vmgroup that is not enabled. The volumes
// of a disabled one can be attached, so that its containers go on; those of a
// deleted one cannot, not even after a restart of its VMs. An administrator
// sees them all.
func begins(g volspec.VMGroup, q volspec.Request) error {
	text := ""
	switch {
	case g.State == volspec.GroupEnabled:
		return nil
	case q.Action == volspec.DoCreate || q.Action == volspec.DoResize:
		text = noCreate
	case g.State == volspec.GroupDisabled || q.Caller.Admin:
		return nil
	case q.Action == volspec.DoRemove:
		text = noDelete
	default:
		text = noAccess
	}
	return errkind.New(errkind.Denied, "%s: vmgroup %s is %s; ask the provider to enable it", text, g.Name, g.State)
}

// noRowFor refuses what no access row covers. A create is told so in the words
// that the tenancy guide shows for it, with the rule's words after them.
func noRowFor(r volspec.Rights, q volspec.Request) error {
	text := noAccess
	if q.Action == volspec.DoCreate {
		text = noCreate + ": " + noAccess
	}
	return errkind.New(errkind.Denied, "%s: vmgroup %s has no access row for datastore %s", text, r.Group.Name, q.Datastore)
}

func checkSize(row volspec.Access, r volspec.Rights, u volspec.Usage, q volspec.Request) error {
	switch q.Action {
	case volspec.DoCreate:
		if q.Full <= 0 || q.Full > volspec.MaxSize || q.Add < 0 {
			return errkind.New(errkind.Invalid, "%s", badVolumeSize)
		}
	case volspec.DoResize:
		if q.Full < 0 || q.Full > volspec.MaxSize || q.Add < 0 {
			return errkind.New(errkind.Invalid, "%s", badVolumeSize)
		}
	default:
		return nil
	}
	if q.Add == 0 {
		return nil
	}
	if row.MaxSize > 0 && q.Full > row.MaxSize {
		return errkind.New(errkind.Quota, "%s: %s asked, %s allowed for vmgroup %s on %s",
			overMaxSize, q.Full, row.MaxSize, r.Group.Name, rowOn(row, q))
	}
	// Never u.Bytes+q.Add: a sum of sizes may not fit.
	left := max(row.TotalSize-u.Bytes, 0)
	if row.TotalSize > 0 && q.Add > left {
		trash := ""
		if u.Trash > 0 {
			trash = fmt.Sprintf("; %s of it lie in the trash and count until they are purged", u.Trash)
		}
		return errkind.New(errkind.Quota, "%s: %s asked, %s of %s left for vmgroup %s on %s%s",
			overQuota, q.Add, left, row.TotalSize, r.Group.Name, q.Datastore, trash)
	}
	return nil
}

// rowOn names the datastore of a decision and, where the row is that of a
// special name, the row.
func rowOn(row volspec.Access, q volspec.Request) string {
	if row.Datastore == q.Datastore {
		return q.Datastore
	}
	return q.Datastore + " (access row " + row.Datastore + ")"
}

func defaultDatastore(g volspec.VMGroup) string {
	if g.DefaultDatastore == "" {
		return volspec.VMDatastore
	}
	return g.DefaultDatastore
}

func lookup(r volspec.Rights, q volspec.Request) (volspec.Access, bool) {
	if q.Name.Datastore == "" {
		row, found := rowOf(r, defaultDatastore(r.Group))
		if found || r.Group.DefaultDatastore != "" {
			return row, found
		}
	}
	candidates := []string{q.Datastore, volspec.VMDatastore, volspec.AllDatastores}
	for _, ds := range candidates {
		if ds == volspec.VMDatastore && q.Datastore != q.Caller.VMDatastore {
			continue
		}
		if row, found := rowOf(r, ds); found {
			return row, true
		}
	}
	return volspec.Access{}, false
}

func rowOf(r volspec.Rights, datastore string) (volspec.Access, bool) {
	for _, row := range r.Access {
		if row.Datastore == datastore {
			return row, true
		}
	}
	return volspec.Access{}, false
}
