//go:build !race

package kopia_test

// memoryLimit is that of TestLargeRepository in MiB.
const memoryLimit = int64(200)
