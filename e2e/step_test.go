package e2e

import (
	"fmt"
	"strings"

	"mooring.dev/mooring/e2e/harness"
)

// step is one command of a scenario. Repeated after a crash it may find its
// work done: then it succeeds, or it fails with the text done.
type step struct {
	do   func() harness.Result
	done string
}

func (st step) try() error {
	r := st.do()
	if r.Code == 0 || st.done != "" && strings.Contains(r.Stderr, st.done) {
		return nil
	}
	return fmt.Errorf("%s", r)
}
