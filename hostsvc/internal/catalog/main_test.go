package catalog_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(writerEnv) != "" {
		os.Exit(writer())
	}
	if os.Getenv(jobsEnv) != "" {
		os.Exit(jobRunner())
	}
	if dir := os.Getenv(lockEnv); dir != "" {
		os.Exit(holdLock(dir))
	}
	code := m.Run()
	if pgStarted {
		if s, err := server(); err == nil {
			if err := s.Remove(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
