package tenancy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const gib = volspec.GiB

var (
	onDS1 = volspec.Caller{VM: "vm", VMName: "vm1", VMDatastore: "ds1"}
	admin = volspec.Caller{Admin: true}
)

func row(ds string, create bool, limits ...volspec.Size) volspec.Access {
	a := volspec.Access{Datastore: ds, AllowCreate: create}
	if len(limits) > 0 {
		a.MaxSize = limits[0]
	}
	if len(limits) > 1 {
		a.TotalSize = limits[1]
	}
	return a
}

func rights(def string, rows ...volspec.Access) volspec.Rights {
	return volspec.Rights{Group: volspec.VMGroup{ID: "g", Name: "G", DefaultDatastore: def}, Access: rows}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		def, name, want string
		caller          volspec.Caller
		text            string
	}{
		{def: "ds3", name: "v@ds2", want: "ds2", caller: onDS1},
		{def: "ds3", name: "v", want: "ds3", caller: onDS1},
		{def: "_VM_DS", name: "v", want: "ds1", caller: onDS1},
		{def: "", name: "v", want: "ds1", caller: onDS1},
		{def: "", name: "a@b@ds2", want: "ds2", caller: onDS1},
		{def: "ds3", name: "v", want: "ds3", caller: admin},
		{def: "", name: "v", caller: admin, text: "Default datastore is not set for vmgroup G: write the name as v@datastore"},
		{def: "_VM_DS", name: "v", caller: admin, text: "Default datastore is not set for vmgroup G"},
		{def: "ds3", name: "v@_VM_DS", caller: onDS1, text: "Datastore _VM_DS does not exist"},
		{def: "ds3", name: "v@_ALL_DS", caller: onDS1, text: "Datastore _ALL_DS does not exist"},
	} {
		n, err := volspec.ParseName(c.name)
		require.NoError(t, err)
		ds, err := tenancy.Resolve(rights(c.def), c.caller, n)
		assert.Equal(t, c.want, ds, "%+v", c)
		if c.text == "" {
			assert.NoError(t, err, "%+v", c)
			continue
		}
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%+v", c)
		assert.ErrorContains(t, err, c.text)
	}
}

// One line is one decision.
type decision struct {
	what   string
	rights volspec.Rights
	name   string
	caller volspec.Caller // zero: onDS1
	do     volspec.Action
	add    volspec.Size // of a create also the size
	used   volspec.Usage
	want   string // the whole text of the refusal, "" for allowed
	kind   errkind.Kind
}

func decisions() []decision {
	const gb = gib
	limited := rights("", row("_VM_DS", true, 300*volspec.MiB), row("ds1", true))
	limitedExplicit := rights("_VM_DS", row("_VM_DS", true, 300*volspec.MiB), row("ds1", true))
	seed := rights("datastore3", row("datastore3", true, gb, 20*gb))
	return []decision{
		// Which row applies to a short name: only that of the default.
		{what: "default ds", rights: rights("ds2", row("ds2", true)), name: "v", do: volspec.DoCreate, add: gb},
		{what: "default without row", rights: rights("ds2", row("_ALL_DS", true), row("_VM_DS", true)), name: "v", do: volspec.DoCreate, add: gb,
			want: "No create privilege: No access privilege exists: vmgroup G has no access row for datastore ds2", kind: errkind.Denied},
		{what: "_VM_DS literally, though the real one is unlimited", rights: limitedExplicit, name: "v", do: volspec.DoCreate, add: gb,
			want: "Volume size exceeds the max volume size limit: 1 GiB asked, 300 MiB allowed for vmgroup G on ds1 (access row _VM_DS)", kind: errkind.Quota},
		{what: "the same in full is not limited", rights: limitedExplicit, name: "v@ds1", do: volspec.DoCreate, add: gb},
		{what: "_VM_DS without row, no fallback", rights: rights("_VM_DS", row("ds1", true), row("_ALL_DS", true)), name: "v", do: volspec.DoMount,
			want: "No access privilege exists: vmgroup G has no access row for datastore ds1", kind: errkind.Denied},
		// No default: row _VM_DS, else as in full.
		{what: "no default, row _VM_DS", rights: limited, name: "v", do: volspec.DoCreate, add: gb,
			want: "Volume size exceeds the max volume size limit: 1 GiB asked, 300 MiB allowed for vmgroup G on ds1 (access row _VM_DS)", kind: errkind.Quota},
		{what: "no default, row of the VM's datastore", rights: rights("", row("ds1", true)), name: "v", do: volspec.DoCreate, add: gb},
		{what: "no default, row _ALL_DS", rights: rights("", row("_ALL_DS", true)), name: "v", do: volspec.DoCreate, add: gb},
		{what: "no default, no row", rights: rights("", row("ds2", true)), name: "v", do: volspec.DoCreate, add: gb,
			want: "No create privilege: No access privilege exists: vmgroup G has no access row for datastore ds1", kind: errkind.Denied},

		// Which row applies to a full name: its own, _VM_DS at home, _ALL_DS.
		{what: "own row denies first", rights: rights("", row("_ALL_DS", true), row("_VM_DS", true), row("ds1", false)), name: "v@ds1", do: volspec.DoCreate, add: gb,
			want: "No create privilege: vmgroup G has no create right on ds1", kind: errkind.Denied},
		{what: "_VM_DS before _ALL_DS", rights: rights("", row("_ALL_DS", true), row("_VM_DS", false)), name: "v@ds1", do: volspec.DoCreate, add: gb,
			want: "No create privilege: vmgroup G has no create right on ds1 (access row _VM_DS)", kind: errkind.Denied},
		{what: "_VM_DS is not for other datastores", rights: rights("", row("_ALL_DS", true), row("_VM_DS", false)), name: "v@ds2", do: volspec.DoCreate, add: gb},
		{what: "_ALL_DS last", rights: rights("ds9", row("_ALL_DS", true, gb)), name: "v@ds2", do: volspec.DoCreate, add: 2 * gb,
			want: "Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed for vmgroup G on ds2 (access row _ALL_DS)", kind: errkind.Quota},
		{what: "no row", rights: rights("", row("_VM_DS", true)), name: "v@ds2", do: volspec.DoMount,
			want: "No access privilege exists: vmgroup G has no access row for datastore ds2", kind: errkind.Denied},

		// Which right a command needs.
		{what: "mount needs a row only", rights: rights("", row("ds1", false)), name: "v@ds1", do: volspec.DoMount},
		{what: "remove needs create", rights: rights("", row("ds1", false)), name: "v@ds1", do: volspec.DoRemove,
			want: "No delete privilege: vmgroup G has no create right on ds1", kind: errkind.Denied},
		{what: "remove", rights: rights("", row("ds1", true)), name: "v@ds1", do: volspec.DoRemove},
		{what: "remove without row", rights: rights(""), name: "v@ds1", do: volspec.DoRemove,
			want: "No access privilege exists: vmgroup G has no access row for datastore ds1", kind: errkind.Denied},
		{what: "resize needs create", rights: rights("", row("ds1", false)), name: "v@ds1", do: volspec.DoResize, add: gb,
			want: "No create privilege: vmgroup G has no create right on ds1", kind: errkind.Denied},
		{what: "the right to resize alone", rights: rights("", row("ds1", true, gb, gb)), name: "v@ds1", do: volspec.DoResize, used: volspec.Usage{Bytes: 5 * gb}},
		{what: "limits do not stop mount and remove", rights: rights("", row("ds1", true, gb, gb)), name: "v@ds1", do: volspec.DoRemove, used: volspec.Usage{Bytes: 9 * gb}},

		// Sizes, in the order right, size, max, quota. Limits are inclusive.
		{what: "right before size", rights: rights("", row("ds1", false)), name: "v@ds1", do: volspec.DoCreate, add: 0,
			want: "No create privilege: vmgroup G has no create right on ds1", kind: errkind.Denied},
		{what: "zero", rights: seed, name: "v", do: volspec.DoCreate, add: 0, want: "Invalid volume size specified.", kind: errkind.Invalid},
		{what: "negative", rights: seed, name: "v", do: volspec.DoCreate, add: -1, want: "Invalid volume size specified.", kind: errkind.Invalid},
		{what: "above all sizes", rights: seed, name: "v", do: volspec.DoCreate, add: volspec.MaxSize + 1, want: "Invalid volume size specified.", kind: errkind.Invalid},
		{what: "seed: 2GB where 1GB is the limit", rights: seed, name: "MyVolume", do: volspec.DoCreate, add: 2 * gb,
			want: "Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed for vmgroup G on datastore3", kind: errkind.Quota},
		{what: "exactly the max", rights: seed, name: "v", do: volspec.DoCreate, add: gb},
		{what: "max before quota", rights: seed, name: "v", do: volspec.DoCreate, add: 2 * gb, used: volspec.Usage{Bytes: 20 * gb},
			want: "Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed for vmgroup G on datastore3", kind: errkind.Quota},
		{what: "exactly the rest", rights: seed, name: "v", do: volspec.DoCreate, add: gb, used: volspec.Usage{Bytes: 19 * gb}},
		{what: "one byte too many", rights: seed, name: "v", do: volspec.DoCreate, add: gb, used: volspec.Usage{Bytes: 19*gb + 1},
			want: "The total volume size exceeds the usage quota: 1 GiB asked, 1073741823 B of 20 GiB left for vmgroup G on datastore3", kind: errkind.Quota},
		{what: "what lies in the trash is told", rights: seed, name: "v", do: volspec.DoCreate, add: gb, used: volspec.Usage{Bytes: 20 * gb, Trash: 3 * gb},
			want: "The total volume size exceeds the usage quota: 1 GiB asked, 0 B of 20 GiB left for vmgroup G on datastore3; 3 GiB of it lie in the trash and count until they are purged", kind: errkind.Quota},
		{what: "a limit below the usage stops growth", rights: seed, name: "v", do: volspec.DoCreate, add: 1, used: volspec.Usage{Bytes: 30 * gb},
			want: "The total volume size exceeds the usage quota: 1 B asked, 0 B of 20 GiB left for vmgroup G on datastore3", kind: errkind.Quota},
		{what: "no limits", rights: rights("", row("ds1", true)), name: "v@ds1", do: volspec.DoCreate, add: volspec.MaxSize, used: volspec.Usage{Bytes: 1<<63 - 1}},
		{what: "sums that do not fit", rights: rights("", row("ds1", true, 0, volspec.MaxSize)), name: "v@ds1", do: volspec.DoCreate, add: volspec.MaxSize, used: volspec.Usage{Bytes: 1<<63 - 1},
			want: "The total volume size exceeds the usage quota: 65536 TiB asked, 0 B of 65536 TiB left for vmgroup G on ds1", kind: errkind.Quota},
		{what: "growing counts the difference", rights: rights("", row("ds1", true, 5*gb, 10*gb)), name: "v@ds1", do: volspec.DoResize, add: gb, used: volspec.Usage{Bytes: 9 * gb}},
		{what: "growing above the max", rights: rights("", row("ds1", true, 0, 10*gb)), name: "v@ds1", do: volspec.DoResize, add: 2 * gb, used: volspec.Usage{Bytes: 9 * gb},
			want: "The total volume size exceeds the usage quota: 2 GiB asked, 1 GiB of 10 GiB left for vmgroup G on ds1", kind: errkind.Quota},

		// The guide's second example: no row for another datastore. Its text
		// comes first, that of the rule after it.
		{what: "seed: other datastore", rights: seed, name: "MyVolume@datastore1", do: volspec.DoCreate, add: 2 * gb,
			want: "No create privilege: No access privilege exists: vmgroup G has no access row for datastore datastore1", kind: errkind.Denied},

		// The admin gives the rights and needs none; limits hold.
		{what: "admin without row", rights: rights(""), name: "v@ds1", caller: admin, do: volspec.DoCreate, add: gb},
		{what: "admin removes without row", rights: rights(""), name: "v@ds1", caller: admin, do: volspec.DoRemove},
		{what: "admin without create right", rights: rights("", row("ds1", false)), name: "v@ds1", caller: admin, do: volspec.DoRemove},
		{what: "admin and the quota", rights: rights("", row("ds1", false, 0, gb)), name: "v@ds1", caller: admin, do: volspec.DoCreate, add: 2 * gb,
			want: "The total volume size exceeds the usage quota: 2 GiB asked, 1 GiB of 1 GiB left for vmgroup G on ds1", kind: errkind.Quota},
		{what: "admin and a bad size", rights: rights(""), name: "v@ds1", caller: admin, do: volspec.DoCreate, add: 0, want: "Invalid volume size specified.", kind: errkind.Invalid},
	}
}

func TestDecisions(t *testing.T) {
	for _, d := range decisions() {
		t.Run(d.what, func(t *testing.T) {
			if d.caller == (volspec.Caller{}) {
				d.caller = onDS1
			}
			n, err := volspec.ParseName(d.name)
			require.NoError(t, err)
			ds, err := tenancy.Resolve(d.rights, d.caller, n)
			require.NoError(t, err)
			err = tenancy.Check(d.rights, d.used, volspec.Request{Action: d.do, Name: n, Datastore: ds, Caller: d.caller, Add: d.add, Full: d.add})
			if d.want == "" {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, d.want, errkind.Text(err))
			assert.Equal(t, d.kind, errkind.Of(err))
		})
	}
}

// Worlds of properties: few datastores, so that rows meet names.
var places = []string{"ds1", "ds2", "_VM_DS", "_ALL_DS"}

func drawRights(t *rapid.T) volspec.Rights {
	r := rights(rapid.SampledFrom([]string{"", "ds1", "ds2", "_VM_DS"}).Draw(t, "default"))
	for _, ds := range places {
		if rapid.Bool().Draw(t, ds) {
			a := row(ds, rapid.Bool().Draw(t, "create"))
			a.MaxSize = volspec.Size(rapid.SampledFrom([]int64{0, 1, 100, 1000}).Draw(t, "max"))
			a.TotalSize = volspec.Size(rapid.SampledFrom([]int64{0, 1, 100, 1000, 1 << 62}).Draw(t, "total"))
			r.Access = append(r.Access, a)
		}
	}
	return r
}

func drawRequest(t *rapid.T, r volspec.Rights) volspec.Request {
	q := volspec.Request{
		Action: rapid.SampledFrom([]volspec.Action{volspec.DoCreate, volspec.DoMount, volspec.DoRemove, volspec.DoResize}).Draw(t, "action"),
		Name:   volspec.Name{Volume: "v", Datastore: rapid.SampledFrom([]string{"", "ds1", "ds2"}).Draw(t, "name")},
		Caller: volspec.Caller{VM: "vm", VMDatastore: rapid.SampledFrom([]string{"ds1", "ds2"}).Draw(t, "home")},
		Add:    volspec.Size(rapid.Int64Range(-1, 2000).Draw(t, "add")),
	}
	q.Full = q.Add + volspec.Size(rapid.Int64Range(0, 50).Draw(t, "had"))
	ds, err := tenancy.Resolve(r, q.Caller, q.Name)
	require.NoError(t, err)
	q.Datastore = ds
	return q
}

// expectedRow is the rule of which row applies, written once more.
func expectedRow(r volspec.Rights, q volspec.Request) *volspec.Access {
	var order []string
	full := []string{q.Datastore}
	if q.Datastore == q.Caller.VMDatastore {
		full = append(full, "_VM_DS")
	}
	full = append(full, "_ALL_DS")
	switch {
	case q.Name.Datastore != "":
		order = full
	case r.Group.DefaultDatastore == "":
		order = append([]string{"_VM_DS"}, full...)
	default:
		order = []string{r.Group.DefaultDatastore}
	}
	for _, ds := range order {
		for i := range r.Access {
			if r.Access[i].Datastore == ds {
				return &r.Access[i]
			}
		}
	}
	return nil
}

// Whatever the rows, the first that applies decides, a volume never exceeds
// its limit, and the sum never exceeds the quota by anything that was allowed.
func TestDecisionProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRights(t)
		var used = volspec.Size(rapid.Int64Range(0, 1500).Draw(t, "used"))
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			q := drawRequest(t, r)
			err := tenancy.Check(r, volspec.Usage{Bytes: used}, q)
			row := expectedRow(r, q)
			if row == nil {
				require.Equal(t, errkind.Denied, errkind.Of(err))
				require.ErrorContains(t, err, "No access privilege exists")
				continue
			}
			if !row.AllowCreate && q.Action != volspec.DoMount {
				require.Equal(t, errkind.Denied, errkind.Of(err))
				continue
			}
			if q.Action == volspec.DoMount || q.Action == volspec.DoRemove {
				require.NoError(t, err)
				continue
			}
			fits := q.Add >= 0 && (q.Full > 0 || q.Action == volspec.DoResize)
			if fits && q.Add > 0 {
				fits = (row.MaxSize == 0 || q.Full <= row.MaxSize) && (row.TotalSize == 0 || used+q.Add <= row.TotalSize)
			}
			require.Equal(t, fits, err == nil, "%v for %+v with %d used under %+v", err, q, used, row)
			if err == nil {
				used += q.Add
			}
		}
	})
}
