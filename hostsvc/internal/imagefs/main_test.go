package imagefs

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "FAIL: these tests use FUSE, loop devices and mounts: run them as root")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
