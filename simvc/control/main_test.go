package control_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mooring.dev/mooring/simvc/control"
)

var binary string

func TestMain(m *testing.M) {
	var err error
	if binary, err = control.Build(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(binary))
	os.Exit(code)
}
