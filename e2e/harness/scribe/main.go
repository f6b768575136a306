// Command scribe writes to a volume as a careful database does, and measures
// how long it has to wait:
//
//	scribe LOG ACK
//
// It appends lines to the file LOG, each with its number and each synced before
// the next; a LOG that exists is continued. ACK, which lies elsewhere, always
// holds the number of the last line that is certainly on disk, and the longest
// time in microseconds from one such moment to the next.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// line is how long a line is.
const line = 16

func main() {
	if err := scribe(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "scribe:", err)
		os.Exit(1)
	}
}

func scribe(log, ack string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	l, err := os.OpenFile(log, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	a, err := os.OpenFile(ack, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	info, err := l.Stat()
	if err != nil {
		return err
	}
	var longest time.Duration
	last := time.Now()
	for n := info.Size()/line + 1; len(end) == 0; n++ {
		if _, err := fmt.Fprintf(l, "%15d\n", n); err != nil {
			return err
		}
		if err := l.Sync(); err != nil {
			return err
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		if _, err := a.WriteAt(fmt.Appendf(nil, "%15d %15d\n", n, longest.Microseconds()), 0); err != nil {
			return err
		}
	}
	return nil
}
