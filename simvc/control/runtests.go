package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RunTests is what a TestMain does to have the simulator: it compiles the
// program, names it in binary for Start, runs the tests of m, a *testing.M, and
// removes the program. When all passed it asks checks, each of which may still
// fail the run. It returns the code to exit with.
func RunTests(m interface{ Run() int }, binary *string, checks ...func() error) int {
	path, err := Build(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*binary = path
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(path))
	if code != 0 {
		return code
	}
	var errs []error
	for _, check := range checks {
		errs = append(errs, check())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
