package vsphere

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"mooring.dev/mooring/simvc/control"
)

// binary is the simulator that the tests run against, in a process of its own.
var binary string

func TestMain(m *testing.M) {
	os.Exit(control.RunTests(m, &binary, func() error { return goleak.Find() }))
}
