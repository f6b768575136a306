package vc

import (
	"io"
	"log"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// overlay puts our methods before the simulator's. The registry's handler may
// change whom a call is for before it is dispatched: a method that one of our
// objects has goes there; the request still names the object it is about.
func (s *Server) overlay() {
	m := s.root.Map
	targets := make(map[string]map[string]types.ManagedObjectReference)
	add := func(kind string, o mo.Reference) {
		m.Put(o)
		targets[kind] = methodsOf(o)
	}
	add("VirtualMachine", &vmAPI{api: named("vm"), s: s})
	add("VirtualMachineSnapshot", &snapshotAPI{api: named("snapshot"), s: s})
	add("Folder", &folderAPI{api: named("folder"), s: s})
	add("VirtualDiskManager", &diskAPI{api: named("disk"), s: s})
	add("ResourcePool", &poolAPI{api: named("pool"), s: s})
	add("FileManager", &fileAPI{api: named("file"), s: s})
	add("DatastoreNamespaceManager", &namespaceAPI{api: named("namespaces"), s: s})
	add("HostDatastoreBrowser", &browserAPI{api: named("browser"), s: s})
	add("Datastore", &storeAPI{api: named("datastore"), s: s})
	add("PropertyCollector", &updatesAPI{api: named("updates"), watches: map[types.ManagedObjectReference]*watch{}})
	add("SessionManager", &ticketAPI{api: named("ticket"), s: s})
	add("VcenterVStorageObjectManager", &vsoAPI{api: named("storage"), s: s})
	m.Handler = func(_ *simulator.Context, call *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if to, ok := targets[call.This.Type][call.Name]; ok {
			call.This = to
		}
		return nil, nil
	}
}

// api is the identity of one of our objects. It locks itself: the simulator
// must not serialise the calls of all machines. The simulator wants a type of
// package mo as the first thing in every object; this one has nothing in it.
type api struct{ mo.CertificateManager }

func named(name string) api {
	return api{mo.CertificateManager{Self: types.ManagedObjectReference{Type: "Simvc", Value: name}}}
}

// Lock and Unlock are sync.Locker for the simulator.
func (*api) Lock() {}

// Unlock is the other half.
func (*api) Unlock() {}

var hasFault = reflect.TypeFor[soap.HasFault]()

// methodsOf lists an object's SOAP methods by their names on the wire.
func methodsOf(o mo.Reference) map[string]types.ManagedObjectReference {
	names := make(map[string]types.ManagedObjectReference)
	t := reflect.TypeOf(o)
	for m := range t.Methods() {
		if m.Type.NumOut() != 1 || m.Type.Out(0) != hasFault {
			continue
		}
		name := m.Name
		if task, ok := strings.CutSuffix(name, "Task"); ok {
			name = task + "_Task"
		}
		names[name] = o.Reference()
		// Methods of the storage manager are lower case in one place.
		names[strings.ToLower(name[:1])+name[1:]] = o.Reference()
	}
	return names
}

// claim marks objects as busy with an operation; a second operation on one of
// them is TaskInProgress, as on a vCenter.
func (s *Server) claim(what string, refs ...types.ManagedObjectReference) (func(), types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range refs {
		if s.busy[r] != "" {
			return nil, &types.TaskInProgress{Task: types.ManagedObjectReference{Type: "Task", Value: s.busy[r]}}
		}
	}
	for _, r := range refs {
		s.busy[r] = what
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range refs {
			delete(s.busy, r)
		}
	}, nil
}

type work func() (types.AnyType, types.BaseMethodFault)

// task runs work as a task of an object; release, if any, when it is done.
func (s *Server) task(ctx *simulator.Context, of mo.Reference, name string, release func(), f work) types.ManagedObjectReference {
	return simulator.CreateTask(of, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if release != nil {
			defer release()
		}
		defer s.publishAllSoon()
		return f()
	}).Run(ctx)
}

// inner waits for a task that the simulator began on our behalf.
func inner(ctx *simulator.Context, ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	t := ctx.Map.Get(ref).(*simulator.Task)
	own := &simulator.Context{} // not the task's: it would share its locks
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		var info types.TaskInfo
		ctx.Map.WithLock(own, t, func() { info = t.Info })
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info.Result, nil
		case types.TaskInfoStateError:
			return nil, info.Error.Fault
		}
		<-time.After(pause)
	}
}

func sortBy[T any](list []T, key func(T) string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
