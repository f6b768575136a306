package app

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/log"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Format: "text"}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		RemoveBinaries()
		os.Exit(code)
	}))
}

// RemoveBinaries is replaced by tests that build some.
var RemoveBinaries = func() {}
