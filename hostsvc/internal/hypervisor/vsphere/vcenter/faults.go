package vcenter

import (
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// rule says what a kind of fault means to a person.
type rule struct {
	is   func(error) bool
	kind errkind.Kind
	says string // after "<what>: "
}

func on[F types.BaseMethodFault](kind errkind.Kind, says string) rule {
	return rule{Is[F], kind, says}
}

// rules: the first that fits decides.
var rules = []rule{
	on[*types.NoDiskSpace](errkind.Quota, "the datastore is full; free space on it or choose another"),
	on[*types.InsufficientStorageSpace](errkind.Quota, "the datastore is full; free space on it or choose another"),
	on[*types.FileLocked](errkind.InUse, "a VM has the file locked; detach it there first"),
	{lockedByKey, errkind.InUse, "a VM has the file locked; detach it there first"},
	on[*types.ResourceInUse](errkind.InUse, "it is in use; detach it first"),
	on[*types.FileAlreadyExists](errkind.Exists, "a file with that name is there already"),
	on[*types.AlreadyExists](errkind.Exists, "it is there already"),
	on[*types.DuplicateName](errkind.Exists, "the name is taken"),
	on[*types.FileNotFound](errkind.NotFound, "there is no such file"),
	on[*types.ManagedObjectNotFound](errkind.NotFound, "it is gone from the inventory"),
	on[*types.NotFound](errkind.NotFound, "there is no such object"),
	on[*types.InaccessibleDatastore](errkind.Unavailable, "the datastore is not accessible; bring it back and repeat"),
	on[*types.DatastoreNotWritableOnHost](errkind.Unavailable, "the host cannot write to the datastore; repeat it when it can"),
	on[*types.ReadOnlyDisksWithLegacyDestination](errkind.Unavailable, "the datastore is read-only"),
	on[*types.InvalidDatastorePath](errkind.Invalid, "the path on the datastore is not valid"),
	on[*types.InvalidDatastore](errkind.Unavailable, "the datastore is not accessible; bring it back and repeat"),
	on[*types.CannotAccessFile](errkind.Unavailable, "the file cannot be accessed now; look at its datastore and repeat"),
	on[*types.InvalidLogin](errkind.Denied, "the user or the password was not accepted"),
	on[*types.NotAuthenticated](errkind.Unavailable, "the session ended; repeat it"),
	on[*types.TaskInProgress](errkind.Unavailable, "another task on it is not finished; repeat it later"),
	on[*types.InvalidPowerState](errkind.Unavailable, "the VM is not in the power state that this needs"),
	on[*types.ConcurrentAccess](errkind.Unavailable, "somebody else changed it meanwhile; repeat it"),
	on[*types.HostNotConnected](errkind.Unavailable, "the host is not connected; bring it back and repeat"),
	on[*types.HostCommunication](errkind.Unavailable, "the host does not answer; repeat it later"),
	on[*types.Timedout](errkind.Unavailable, "it took too long; repeat it later"),
	on[*types.RequestCanceled](errkind.Unavailable, "somebody cancelled it; repeat it"),
	on[*types.InvalidState](errkind.InUse, "it is in a state that does not allow it"),
	on[*types.MethodNotFound](errkind.Unsupported, "this version of vSphere cannot do it"),
	on[*types.NotSupported](errkind.Unsupported, "vSphere does not support it here"),
	on[*types.NotImplemented](errkind.Unsupported, "this version of vSphere cannot do it"),
	on[*types.SystemError](errkind.Unavailable, "vSphere had an error of its own; repeat it"),
	on[*types.HostConfigFault](errkind.Unavailable, "the host reports an error"),
}

// lockedByKey: hosts report a lock also as a general fault with this key.
func lockedByKey(err error) bool {
	for _, k := range Keys(err) {
		if strings.HasPrefix(k, "msg.fileio.lock") || strings.HasPrefix(k, "msg.disk.lock") {
			return true
		}
	}
	return false
}

func translateFault(err error, f types.BaseMethodFault, what string) error {
	if p, ok := As[*types.NoPermission](err); ok {
		where := "it"
		if p.Object != nil {
			where = p.Object.String()
		}
		return errkind.Wrap(errkind.Denied, err, "%s: the user lacks privilege %s on %s; add it to the user's role", what, p.PrivilegeId, where)
	}
	for _, r := range rules {
		if r.is(err) {
			return errkind.Wrap(r.kind, err, "%s: %s", what, r.says)
		}
	}
	kind := errkind.Internal
	if _, ok := f.(types.BaseFileFault); ok {
		kind = errkind.Unavailable
	}
	return errkind.Wrap(kind, err, "%s: vSphere reports %s (%s)", what, faultName(f), Text(err))
}
