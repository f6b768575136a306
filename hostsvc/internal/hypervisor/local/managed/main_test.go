package managed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/crashpoint"
)

const crashEnv = "MOORING_TEST_CRASH"

// crashWork is what a process that is killed does.
type crashWork struct {
	Dir   string
	Store Store
	At    string
}

// crashChild applies a store in a process of its own, which dies at a crash
// point. In the test's own process: false.
func crashChild() bool {
	spec := os.Getenv(crashEnv)
	if spec == "" {
		return false
	}
	var c crashWork
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		panic(err)
	}
	crashpoint.Set(func(point string) {
		if point == c.At {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
	})
	if err := New(c.Dir).Apply(context.Background(), []Store{c.Store}); err != nil {
		panic(err)
	}
	return true
}

func TestMain(m *testing.M) {
	if crashChild() {
		return
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "FAIL: these tests use loop devices and mounts: run them as root")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
