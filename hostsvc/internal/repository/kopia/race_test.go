//go:build race

package kopia_test

// memoryLimit is that of TestLargeRepository in MiB: the race detector needs several
// times the memory of the program.
const memoryLimit = int64(1200)
