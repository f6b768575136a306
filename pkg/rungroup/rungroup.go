// Package rungroup runs the long-lived parts of a process together: all start
// in order, and when one of them ends or the process is told to stop, all
// stop in reverse order, each with a deadline of its own.
package rungroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Component is one part. Run blocks until its context ends, then stops what
// it started and returns within Within. Returning nil before that is an end
// like any other: it stops the group.
type Component struct {
	Name   string
	Run    func(ctx context.Context) error
	Within time.Duration
}

// StopError names components that were still running when their time was up.
// The process should exit: what they hold is not given back.
type StopError struct{ Slow []string }

func (e *StopError) Error() string {
	return "still running after their time to stop: " + strings.Join(e.Slow, ", ")
}

type running struct {
	Component
	cancel context.CancelCauseFunc
	done   chan struct{} // closed after err is set
	err    error
}

// Run starts the components in order and blocks until ctx ends or one of them
// returns. Then it stops them in reverse order: the context of each ends only
// when all after it have ended or used up their time. The cause of every
// context is why the group stops.
//
// The result joins the errors of all components, each with its name, and a
// StopError for those that did not return; the error of an ended context is
// none. It is nil when ctx ended and everybody stopped in time.
func Run(ctx context.Context, components ...Component) error {
	parts := make([]*running, len(components))
	ended := make(chan *running, len(components))
	for i, c := range components {
		own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		p := &running{Component: c, cancel: cancel, done: make(chan struct{})}
		parts[i] = p
		go func() {
			p.err = c.Run(own)
			close(p.done)
			ended <- p
		}()
	}

	var cause error
	select {
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case p := <-ended:
		cause = fmt.Errorf("%s ended", p.Name)
		if p.err != nil {
			cause = fmt.Errorf("%s: %w", p.Name, p.err)
		}
	}
	return stop(parts, cause)
}

func stop(parts []*running, cause error) error {
	var errs []error
	slow := &StopError{}
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		p.cancel(cause)
		timer := time.NewTimer(p.Within)
		select {
		case <-p.done:
		case <-timer.C:
		}
		timer.Stop()
		select {
		case <-p.done:
			if p.err != nil && !errors.Is(p.err, context.Canceled) && !errors.Is(p.err, cause) {
				errs = append(errs, fmt.Errorf("%s: %w", p.Name, p.err))
			}
		default:
			slow.Slow = append(slow.Slow, p.Name)
		}
	}
	if len(slow.Slow) > 0 {
		errs = append(errs, slow)
	}
	return errors.Join(errs...)
}
