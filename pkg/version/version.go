// Package version is the version of this build.
package version

import (
	"cmp"
	"runtime/debug"
)

// stamp is set by the linker: -X mooring.dev/mooring/pkg/version.stamp=v1.2.
var stamp string

// String is the stamp, or else the revision that the Go toolchain recorded,
// or "dev".
func String() string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				revision = "dev-" + s.Value[:12]
			}
		}
	}
	return cmp.Or(stamp, revision, "dev")
}
