package vcenter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/volspec"
)

func ref(kind, value string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: value}
}

// A VM has a folder when every one above it can be seen, also from within a vApp.
func TestPathsOfFolders(t *testing.T) {
	root, dc, vm := ref("Folder", "root"), ref("Datacenter", "dc"), ref("Folder", "vm")
	region, acme := ref("Folder", "region"), ref("Folder", "acme")
	app, inner, lost := ref("VirtualApp", "app"), ref("VirtualApp", "inner"), ref("VirtualApp", "lost")
	hidden, above, below := ref("Folder", "hidden"), ref("Folder", "above"), ref("Folder", "below")
	tree := tree{
		region: {name: "region", in: within{folder: root}},
		dc:     {name: "DC0", in: within{folder: region}, vms: vm},
		vm:     {name: "vm", in: within{folder: dc}},
		acme:   {name: "a%2fb", in: within{folder: vm}},
		app:    {in: within{folder: acme}},
		inner:  {in: within{app: app}},
		lost:   {},
		hidden: {name: "hidden", in: within{folder: ref("Folder", "unknown")}},
		above:  {name: "above", in: within{folder: below}},
		below:  {name: "below", in: within{folder: above}},
	}
	for name, c := range map[string]struct {
		in   within
		want volspec.Folder
	}{
		"all VMs":                   {within{folder: vm}, "/region/DC0/vm"},
		"folder":                    {within{folder: acme}, "/region/DC0/vm/a%2fb"},
		"vApp":                      {within{app: app}, "/region/DC0/vm/a%2fb"},
		"vApp in a vApp":            {within{app: inner}, "/region/DC0/vm/a%2fb"},
		"vApp that nothing is seen": {within{app: lost}, ""},
		"nothing seen":              {within{}, ""},
		"folder of the unknown":     {within{folder: hidden}, ""},
		"circle":                    {within{folder: above}, ""},
		"the root itself":           {within{folder: root}, ""},
	} {
		p := paths{tree, root, map[types.ManagedObjectReference]volspec.Folder{}}
		assert.Equal(t, c.want, p.of(c.in), name)
		assert.Equal(t, c.want, p.of(c.in), "%s, asked again", name)
	}
}
