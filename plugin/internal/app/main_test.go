package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mooring-plugin")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "mooring-plugin")
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/mooring-plugin").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}
