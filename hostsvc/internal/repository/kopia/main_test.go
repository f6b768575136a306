package kopia_test

import (
	"flag"
	"io"
	"testing"

	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/log"
)

func TestMain(m *testing.M) {
	// Each check of the model test makes a repository, and deriving its key
	// takes a quarter of a second.
	if err := flag.Set("rapid.checks", "6"); err != nil {
		panic(err)
	}
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
