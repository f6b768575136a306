// Package portal tests the portal as people use it: a real mooringd, a real
// Chromium, and what a person reads and presses. See package harness.
//
// Pictures of every page are kept in dist/screenshots.
package portal

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
	var err error
	if lab, err = harness.New(context.Background()); err != nil {
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
