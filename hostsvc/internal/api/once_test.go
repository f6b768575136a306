package api

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// answers is a memory of answers that keeps them as they are.
type answers map[string]string

func (a answers) Begin(_ context.Context, caller, key, request string) ([]byte, bool, error) {
	have, done := a[caller+" "+key]
	if done && have[:64] != request {
		return nil, false, errkind.New(errkind.Invalid, "another request")
	}
	if done {
		return []byte(have[64:]), true, nil
	}
	return nil, false, nil
}

func (a answers) Finish(_ context.Context, caller, key, request string, answer []byte) error {
	a[caller+" "+key] = request + string(answer)
	return nil
}

func (a answers) Abandon(context.Context, string, string) error { return nil }

func TestAKeyMakesAPostHappenOnce(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Answers = answers{} })
	admin, tenant := g.channel(as(callerAdmin)), g.channel(as(callerTenant))
	const target, body, key = wire.Prefix + "/vmgroups/x/volumes", `{"name":"v"}`, "Idempotency-Key: k"
	once := ask(t, admin, "POST", target, body, key)
	assert.Len(t, g.uses.take(), 1)
	for range 2 {
		again := ask(t, admin, "POST", target, ` { "name" : "v" } `, key)
		assert.Equal(t, once.body, again.body)
		assert.Equal(t, once.status, again.status)
		assert.Empty(t, g.uses.take(), "nothing was done again")
	}
	assert.Equal(t, http.StatusBadRequest, ask(t, admin, "POST", target, `{"name":"w"}`, key).status)
	assert.Equal(t, http.StatusBadRequest, ask(t, admin, "POST", wire.Prefix+"/vmgroups/y/volumes", body, key).status)
	assert.Empty(t, g.uses.take())
	ask(t, admin, "POST", target, body, "Idempotency-Key: other")
	ask(t, tenant, "POST", target, body, key) // keys are of their caller
	ask(t, admin, "PATCH", wire.Prefix+"/vmgroups/x/volumes/v", `{}`, key)
	assert.Len(t, g.uses.take(), 3)
}
