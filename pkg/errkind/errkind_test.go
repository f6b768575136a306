package errkind

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKindSurvivesWrapping(t *testing.T) {
	denied := New(Denied, "No create privilege")
	wrapped := fmt.Errorf("create: %w", denied)
	assert.Equal(t, Denied, Of(wrapped))
	assert.Equal(t, "No create privilege", Text(wrapped), "prefixes of the way do not reach the user")
	assert.Equal(t, Internal, Of(errors.New("x")))
	assert.Equal(t, Unavailable, Of(fmt.Errorf("dial: %w", context.DeadlineExceeded)))
	assert.Equal(t, Kind(""), Of(nil))
	assert.NoError(t, Wrap(Corrupt, nil, "x"))
}

func TestStatusRoundTrip(t *testing.T) {
	for k, traits := range table {
		want := k
		if traits.general != "" {
			want = traits.general
			assert.Equal(t, traits.general.HTTPStatus(), k.HTTPStatus(), "who does not know kind %s takes it for %s", k, want)
		}
		assert.Equal(t, want, FromHTTPStatus(k.HTTPStatus()), "kind %s", k)
	}
	assert.Equal(t, Denied, FromHTTPStatus(401))
	assert.Equal(t, Invalid, FromHTTPStatus(415))
	assert.Equal(t, Internal, FromHTTPStatus(599))
}

func TestExitCodes(t *testing.T) {
	for k, want := range map[Kind]int{Invalid: 2, NotFound: 4, Denied: 5, Exists: 6, InUse: 6, Quota: 7, Internal: 1, Unavailable: 1, Busy: 1, Offline: 10, WrongKey: 12, Unconfigured: 5} {
		assert.Equal(t, want, k.ExitCode(), "kind %s", k)
	}
}
