package disktest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Writer writes to a file without a pause, each write waited for until the
// disk has it, and remembers how long the longest took.
type Writer struct {
	mu      sync.Mutex // guards what follows
	writes  int
	last    time.Time
	longest time.Duration
}

// Write begins to write below dir until the test or stop ends it.
func Write(t testing.TB, dir string) (w *Writer, stop func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "busy"))
	require.NoError(t, err)
	w = &Writer{last: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		defer func() { assert.NoError(t, f.Close()) }()
		block := make([]byte, 4096)
		for i := int64(0); ctx.Err() == nil; i++ {
			_, err := f.WriteAt(block, i%256*4096)
			if err == nil {
				err = f.Sync()
			}
			if !assert.NoError(t, err) {
				return
			}
			w.wrote()
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return w, stop
}

func (w *Writer) wrote() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.writes++
	w.longest = max(w.longest, now.Sub(w.last))
	w.last = now
}

// Count is how many writes were made.
func (w *Writer) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// Longest is how long the longest write took so far, the present one
// included.
func (w *Writer) Longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.longest, time.Since(w.last))
}

// Stands tells whether nothing is written for a while. One write may still be
// counted: the disk had it before, its writer only now comes to tell.
func (w *Writer) Stands() bool {
	before := w.Count()
	time.Sleep(250 * time.Millisecond)
	return w.Count()-before <= 1
}

// Goes waits until something is written, at most limit.
func (w *Writer) Goes(t testing.TB, limit time.Duration) {
	t.Helper()
	before, deadline := w.Count(), time.Now().Add(limit)
	for w.Count() == before {
		if !assert.True(t, time.Now().Before(deadline), "nothing was written for %s", limit) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Children lists the processes that pid has started.
func Children(t testing.TB, pid int) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, d := range dirs {
		data, err := os.ReadFile(d)
		if err != nil {
			continue // it ended
		}
		if child, parent, ok := parentage(string(data)); ok && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// parentage reads /proc/PID/stat; the name in it may hold anything.
func parentage(stat string) (pid, parent int, ok bool) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, 0, false
	}
	f := strings.Fields(stat[i+1:])
	if len(f) < 2 || f[0] == "Z" {
		return 0, 0, false
	}
	pid, err1 := strconv.Atoi(strings.Fields(stat)[0])
	parent, err2 := strconv.Atoi(f[1])
	return pid, parent, err1 == nil && err2 == nil
}
