package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// chapter is a part of the story.
type chapter struct {
	title string
	steps []step
}

// step is one command and what its answer must be. A step without command
// only explains.
type step struct {
	say   string
	run   []string // a command, as a user types it
	ask   string   // or a path, asked for on the channel of the VM in run[0]
	only  string   // the hypervisor on which it is part of the story, "" for all
	fails bool     // the command is refused
	want  []string // each is in the answer
	not   []string // none is in the answer
	check func(answer string) error
}

// play runs the chapters and stops at the first answer that is not right.
func play(ctx context.Context, t *terminal, w *world, chapters []chapter) error {
	for _, c := range chapters {
		if c.title != "" {
			t.title("%s", c.title)
		}
		for _, s := range c.steps {
			if s.say != "" {
				t.say("%s", s.say)
			}
			if s.run == nil {
				continue
			}
			answer, err := w.do(ctx, t, s)
			if answer != "" {
				t.plain(answer)
			}
			if err != nil {
				return err
			}
			if err := s.judge(answer); err != nil {
				return fmt.Errorf("the answer to %q is not right: %w", quote(s.run), err)
			}
		}
	}
	return nil
}

// do runs a step and returns its answer.
func (w *world) do(ctx context.Context, t *terminal, s step) (answer string, err error) {
	if s.ask != "" {
		t.request(s.ask, s.run[0])
		code, body, err := ask(ctx, w.site.guest(s.run[0]), s.ask)
		answer = fmt.Sprintf("%d %s", code, body)
		if err == nil && s.fails == (code < 400) {
			err = fmt.Errorf("%s on the channel of %s answers %d", s.ask, s.run[0], code)
		}
		return answer, err
	}
	t.command(s.run)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := w.program(ctx, s.run).CombinedOutput()
	answer = strings.TrimRight(string(out), "\n")
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err != nil && (!ended || exit.ExitCode() < 0 || ctx.Err() != nil):
		return answer, fmt.Errorf("%q did not end by itself: %w", quote(s.run), errors.Join(err, ctx.Err()))
	case err != nil && !s.fails:
		return answer, fmt.Errorf("%q failed with exit code %d", quote(s.run), exit.ExitCode())
	case err == nil && s.fails:
		return answer, fmt.Errorf("%q succeeded, but it must be refused", quote(s.run))
	}
	return answer, nil
}

// program is a command of the story, ready to run.
func (w *world) program(ctx context.Context, words []string) *exec.Cmd {
	name := words[0]
	if name == "mooring" || name == "mooringd" {
		name = w.site.bin(name)
	}
	cmd := exec.CommandContext(ctx, name, words[1:]...)
	cmd.Env = append(w.engine.env(), "MOORING_SOCKET=unix://"+w.site.socket("admin"), "XDG_CONFIG_HOME="+peopleDir())
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = diesWithUs()
	return cmd
}

// mooring runs the command line quietly and returns what it printed.
func (w *world) mooring(ctx context.Context, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := w.program(ctx, append([]string{"mooring"}, words...)).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("mooring %s: %w: %s", strings.Join(words, " "), err, exit.Stderr)
	}
	return string(out), err
}

// judge compares an answer with what it must be.
func (s step) judge(answer string) error {
	for _, text := range s.want {
		if !strings.Contains(answer, text) {
			return fmt.Errorf("it lacks %q", text)
		}
	}
	for _, text := range s.not {
		if strings.Contains(answer, text) {
			return fmt.Errorf("it contains %q", text)
		}
	}
	if s.check != nil {
		return s.check(answer)
	}
	return nil
}

// ask sends one GET over a unix socket.
func ask(ctx context.Context, socket, path string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mooring"+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, strings.TrimSpace(string(b)), err
}
