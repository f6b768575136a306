package vcenter

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// parts of a Version, in order.
var versioned = []string{"config.changeVersion", "snapshot.currentSnapshot", "runtime.powerState", "runtime.bootTime", "datastore"}

// moved keeps v.Version up to date.
func (v *VM) moved(c types.PropertyChange) {
	parts := strings.Split(v.Version, "|")
	if len(parts) != len(versioned) {
		parts = make([]string, len(versioned))
	}
	for i, name := range versioned {
		if c.Name != name {
			continue
		}
		parts[i] = ""
		switch val := c.Val.(type) {
		case nil:
		case time.Time:
			parts[i] = val.UTC().Format(time.RFC3339Nano)
		case types.ManagedObjectReference:
			parts[i] = val.Value
		default:
			parts[i] = fmt.Sprint(val)
		}
	}
	v.Version = strings.Join(parts, "|")
}
