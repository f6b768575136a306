package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Answers remembers what was answered to requests with an idempotency key; see
// package idempotency.
type Answers interface {
	Begin(ctx context.Context, caller, key, request string) (answer []byte, done bool, err error)
	Finish(ctx context.Context, caller, key, request string, answer []byte) error
	Abandon(ctx context.Context, caller, key string) error
}

// rememberTime bounds the writing of an answer whose request may be over.
const rememberTime = 5 * time.Second

// once does the work of a POST with an idempotency key at most once, and gives
// its answer again.
func (s *Server) once(ctx context.Context, r *http.Request, x *exchange, in any, do func() ([]byte, error)) ([]byte, error) {
	key := r.Header.Get(wire.HeaderIdempotency)
	// What leaves nothing that could be there twice.
	reads := strings.HasSuffix(string(x.endpoint.permission), ".read") || x.endpoint.reveals
	if key == "" || x.endpoint.method != http.MethodPost || reads || !x.caller.Names() || s.o.Answers == nil {
		return do()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "the request body")
	}
	sum := sha256.Sum256([]byte(r.URL.EscapedPath() + "\n" + x.call.query.Encode() + "\n" + string(body)))
	request, caller := hex.EncodeToString(sum[:]), keeper(x.caller)
	if answer, done, err := s.o.Answers.Begin(ctx, caller, key, request); done || err != nil {
		return answer, err
	}
	// A panic leaves the key taken: nobody knows what was done.
	answer, err := do()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTime)
	defer cancel()
	if err != nil {
		if isEnd(err) {
			return nil, err // the work may go on: the key stays taken for as long as it may
		}
		if e := s.o.Answers.Abandon(late, caller, key); e != nil {
			log.G(ctx).WithField(log.Err, e.Error()).Warn("an idempotency key is still taken")
		}
		return nil, err
	}
	if e := s.o.Answers.Finish(late, caller, key, request, answer); e != nil {
		log.G(ctx).WithField(log.Err, e.Error()).Error("an answer was not remembered")
	}
	return answer, nil
}

// keeper is whose keys a caller uses. Acting for a tenant is another caller
// than not acting.
func keeper(c volspec.Caller) string {
	if c.User == "" {
		return c.Actor
	}
	return string(c.User) + " " + string(c.Group)
}
