package disk_test

import (
	"os"
	"testing"

	"mooring.dev/mooring/plugin/internal/disk"
)

// The guards of freezes are this program again, as in the plugin.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == disk.GuardWord {
		os.Exit(disk.RunGuard(os.Args[2:]))
	}
	os.Exit(m.Run())
}
