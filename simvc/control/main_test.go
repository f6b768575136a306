package control_test

import (
	"os"
	"testing"

	"mooring.dev/mooring/simvc/control"
)

var binary string

func TestMain(m *testing.M) { os.Exit(control.RunTests(m, &binary)) }
