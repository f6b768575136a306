package driver

import (
	"io"
	"testing"

	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/log"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
