package undo

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunsInReverseDespiteFailureAndCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var order []string
	s := New()
	for _, name := range []string{"first", "second", "third"} {
		s.Add(name, func(ctx context.Context) error {
			order = append(order, name)
			if name == "second" {
				return errors.New("broken")
			}
			return ctx.Err()
		})
	}
	err := s.Run(ctx)
	assert.Equal(t, []string{"third", "second", "first"}, order)
	require.EqualError(t, err, "undo: second: broken")
	require.NoError(t, s.Run(ctx), "a second run does nothing")
	assert.Len(t, order, 3)
}

func TestKeep(t *testing.T) {
	s := New()
	s.Add("x", func(context.Context) error { t.Error("ran"); return nil })
	s.Keep()
	require.NoError(t, s.Run(t.Context()))
}
