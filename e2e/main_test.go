// Package e2e tests Mooring from outside: real Docker engines in guests, a
// real mooringd, the real command line. See package harness.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"mooring.dev/mooring/e2e/harness"
)

// lab is shared by all tests of a run; they run one after the other.
var lab *harness.Lab

func TestMain(m *testing.M) {
	err := chooseHypervisor()
	if err == nil {
		lab, err = harness.New(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := lab.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the lab could not be cleaned up:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// cleanup is the context of cleanups: that of a test has ended by then. Every
// command of the harness has a limit of its own.
func cleanup() context.Context { return context.Background() }
