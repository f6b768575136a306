package catalog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
)

// jobsEnv makes this test program another mooringd's job runner, on the
// catalog it names: driver, path and DSN.
const jobsEnv = "CATALOG_TEST_JOBS"

const testLease = 3 * time.Second

// jobRunner takes one job, notes that it has, says so, waits for a line of
// input, and then tries to write; whatever it is told.
func jobRunner() int {
	where := strings.SplitN(os.Getenv(jobsEnv), "|", 3)
	c, err := catalog.Open(context.Background(), catalog.Options{Driver: where[0], Path: where[1], DSN: where[2]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	r := job.New(job.Options{Store: c.Jobs(), Instance: "child", Lease: testLease, Poll: time.Hour, Kinds: map[string]job.Handler{"k": {
		Resume: true,
		Run: func(ctx context.Context, t *job.Task) error {
			defer stop()
			ctx = context.WithoutCancel(ctx)
			err := errors.Join(t.Save(ctx, "child"), t.Stage(ctx, "copy"))
			fmt.Println("working", err)
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			fmt.Println("save:", t.Save(ctx, "late"))
			fmt.Println("stage:", t.Stage(ctx, "late"))
			return nil
		},
	}}})
	if err := errors.Join(r.Run(ctx), c.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is the other process.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func startChild(t *testing.T, o catalog.Options) *child {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%s", jobsEnv, o.Driver, o.Path, o.DSN))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &child{cmd, in, bufio.NewScanner(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = in.Close(); _ = cmd.Wait() })
	require.Equal(t, "working <nil>", p.line(t))
	return p
}

func (p *child) line(t *testing.T) string {
	require.True(t, p.lines.Scan(), "the other process ended")
	return p.lines.Text()
}

func (p *child) signal(t *testing.T, s syscall.Signal) { require.NoError(t, p.cmd.Process.Signal(s)) }

// A process that is stopped in the middle of a job, or killed, loses it to
// another one within a lease. The one that wakes up writes nothing more.
func TestJobsOfOtherProcesses(t *testing.T) {
	for name, o := range backends(t) {
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			t.Run(name+" "+s.String(), func(t *testing.T) {
				c := openCatalog(t, o)
				taken, end := make(chan string, 1), make(chan struct{})
				r := job.New(job.Options{Store: c.Jobs(), Instance: "parent", Lease: testLease, Poll: 100 * time.Millisecond, Kinds: map[string]job.Handler{"k": {
					Resume: true,
					Run: func(ctx context.Context, task *job.Task) error {
						var note string
						_, err := task.Notes(&note)
						taken <- note
						<-end
						return errors.Join(err, task.Save(ctx, "parent"))
					},
				}}})
				j, err := r.Enqueue(t.Context(), job.Job{Kind: "k", Group: "g", Object: s.String()})
				require.NoError(t, err)
				p := startChild(t, o)
				renewed(t, c, j.ID) // so that it is in no transaction for a while
				p.signal(t, s)

				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				began := time.Now()
				assert.Equal(t, "child", <-taken, "it goes on with what the other had noted")
				assert.Less(t, time.Since(began), 3*testLease)
				if s == syscall.SIGSTOP {
					p.signal(t, syscall.SIGCONT)
					_, err := p.in.Write([]byte("\n"))
					require.NoError(t, err)
					assert.Contains(t, p.line(t), "save: the lease on the job was lost to another mooringd")
					assert.Contains(t, p.line(t), "stage: the lease on the job was lost to another mooringd")
					require.NoError(t, p.cmd.Wait())
				}
				close(end)
				j, err = r.Wait(t.Context(), j.ID)
				require.NoError(t, err)
				stop()
				require.NoError(t, <-done)
				assert.Equal(t, job.Done, j.State, j.Error)
				assert.JSONEq(t, `"parent"`, string(j.Saved))
				assert.Equal(t, 2, j.Attempts)
				require.Len(t, j.Steps, 1)
				assert.Equal(t, "interrupted", j.Steps[0].Error)
			})
		}
	}
}

// renewed waits until the lease of a job has just been renewed.
func renewed(t *testing.T, c *catalog.Catalog, id volspec.JobID) {
	var first time.Time
	require.Eventually(t, func() (yes bool) {
		require.NoError(t, c.Jobs().View(t.Context(), func(tx job.Tx) error {
			j, err := tx.Job(id)
			if first.IsZero() {
				first = j.Expires
			}
			yes = j.Expires.After(first)
			return err
		}))
		return yes
	}, time.Minute, 10*time.Millisecond)
}
