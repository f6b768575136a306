//go:build !race

package kopia_test

// memoryLimit is that of TestLarge in MiB.
const memoryLimit = int64(200)
