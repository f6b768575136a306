// Package undo keeps the compensations of a multi-step change. Write the undo
// on the line after the deed:
//
//	u := undo.New()
//	defer func() { err = errors.Join(err, u.Run(ctx)) }()
//	... disks.Create(...)
//	u.Add("delete the disk", func(ctx context.Context) error { ... })
//	u.Keep()
package undo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limit is how long all compensations of one stack may take together.
const Limit = 30 * time.Second

// Stack holds compensations. It is not safe for concurrent use.
type Stack struct{ steps []step }

type step struct {
	what string
	do   func(context.Context) error
}

// New returns an empty stack.
func New() *Stack { return &Stack{} }

// Add pushes a compensation; what names it in the error when it fails.
func (s *Stack) Add(what string, do func(context.Context) error) {
	s.steps = append(s.steps, step{what, do})
}

// Keep forgets all compensations: the change stands.
func (s *Stack) Keep() { s.steps = nil }

// Run compensates in reverse order, whatever has become of ctx, within Limit.
// A failing step does not stop the others; all failures are joined. After
// Keep, and when called again, it does nothing.
func (s *Stack) Run(ctx context.Context) error {
	if len(s.steps) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Limit)
	defer cancel()
	var errs []error
	for i := len(s.steps) - 1; i >= 0; i-- {
		if err := s.steps[i].do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo: %s: %w", s.steps[i].what, err))
		}
	}
	s.steps = nil
	return errors.Join(errs...)
}
