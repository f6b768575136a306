// Package crashpoint names the places at which tests end the process: between
// an intent and its deed, between a deed and its record. In normal builds
// Here does nothing; with the build tag crashpoints the process kills itself
// (SIGKILL: no deferred function runs) at the point named by MOORING_CRASH_AT,
// and appends every point it passes to the file named by MOORING_CRASH_LOG.
package crashpoint

// hook is set by tests in the same process.
var hook func(point string)

// Set makes Here call fn, in tests of this process; nil undoes it. It must
// not be called while code under test runs.
func Set(fn func(point string)) { hook = fn }

// Here marks a point, named package.operation.step.
func Here(point string) {
	if hook != nil {
		hook(point)
	}
	die(point)
}
