package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runLimit bounds every command of the harness, so that a hanging engine
// fails one test instead of all.
const runLimit = 3 * time.Minute

// Result is a finished command.
type Result struct {
	Args   []string
	Stdout string // without the final newline
	Stderr string
	Code   int // -1 when it could not be run or was ended by a signal
	Took   time.Duration
}

// String is the command with all it said.
func (r Result) String() string {
	return fmt.Sprintf("$ %s\n%s%s[exit %d after %s]", strings.Join(r.Args, " "),
		indent(r.Stdout), indent(r.Stderr), r.Code, r.Took.Round(time.Millisecond))
}

// OK fails the test unless the command succeeded.
func (r Result) OK(t testing.TB) Result {
	t.Helper()
	require.Zero(t, r.Code, "the command must succeed:\n%s", r)
	return r
}

// Fails fails the test unless the command failed and said all of texts on
// one of its streams.
func (r Result) Fails(t testing.TB, texts ...string) Result {
	t.Helper()
	require.NotZero(t, r.Code, "the command must fail:\n%s", r)
	for _, text := range texts {
		require.Contains(t, r.Stdout+"\n"+r.Stderr, text, "%s", r)
	}
	return r
}

// Lines splits Stdout; none for an empty one.
func (r Result) Lines() []string {
	if r.Stdout == "" {
		return nil
	}
	return strings.Split(r.Stdout, "\n")
}

// lasting is the test's context without its end: what the harness starts or
// does for one test may be needed in its cleanups. Every command of the
// harness has a limit of its own.
func lasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

func indent(s string) string {
	if s = strings.TrimRight(s, "\n"); s == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(s, "\n", "\n  ") + "\n"
}

// run runs a command to its end.
func (l *Lab) run(ctx context.Context, stdin []byte, args ...string) Result {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = l.env()
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	err := cmd.Run()
	r := Result{Args: args, Stdout: strings.TrimRight(out.String(), "\n"), Stderr: strings.TrimRight(errOut.String(), "\n"), Took: time.Since(start)}
	if err == nil {
		return r
	}
	r.Code = -1
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		r.Code = exit.ExitCode()
	} else {
		r.Stderr += fmt.Sprintf("\n(%v)", errors.Join(err, ctx.Err()))
	}
	return r
}

// Run runs a command of the machine, outside the guests.
func (l *Lab) Run(t testing.TB, args ...string) Result {
	t.Helper()
	return l.run(lasting(t), nil, args...)
}

// do is run for the harness's own needs: failure is an error.
func (l *Lab) do(ctx context.Context, args ...string) error {
	if r := l.run(ctx, nil, args...); r.Code != 0 {
		return fmt.Errorf("command failed: %s", r)
	}
	return nil
}

func (l *Lab) env(extra ...string) []string {
	return append(append(os.Environ(), envLab+"="+l.Dir, "LC_ALL=C.UTF-8"), extra...)
}

// process is a long-running program of the lab. Its output is appended to a
// log file; it is reaped when it ends.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // valid after done
}

// start runs args in its own session. flags are the namespaces to make.
func (l *Lab) start(log string, flags uintptr, extraEnv []string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", args[0], err)
	}
	defer out.Close()
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...) // outlives the test that starts it
	cmd.Env = l.env(extraEnv...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: flags}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() { // ends with the process
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive reports whether p is running; a nil process is not.
func (p *process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends sig and waits until the process has ended.
func (p *process) signal(sig syscall.Signal, limit time.Duration) error {
	if !p.alive() {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.wait(limit)
}

func (p *process) wait(limit time.Duration) error {
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s (pid %d) still runs after %s", p.cmd.Args[0], p.pid(), limit)
	}
}

// tail returns the last lines of a log file that are wanted, all for nil.
func tail(path string, lines int, wanted func(line string) bool) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if wanted != nil {
		all = slices.DeleteFunc(all, func(line string) bool { return !wanted(line) })
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
