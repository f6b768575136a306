package api

import (
	"context"
	"io"
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// The client and the table are about the same endpoints: every method of the
// client is answered, and no endpoint is without a method.
func TestClientAndTableAgree(t *testing.T) {
	g := newRig(t)
	guest := hostclient.New("unix://"+g.channel(as(callerA)), hostclient.Options{})
	admin := hostclient.NewAdmin("unix://"+g.channel(as(callerAdmin)), hostclient.Options{})
	stranger := hostclient.NewStranger("unix://"+g.channel(as(callerStray)), hostclient.Options{})
	visitor := hostclient.NewAdmin("unix://"+g.channel(as(callerVisitor)), hostclient.Options{})
	for _, name := range ofVisitors {
		callWithSamples(t, name, reflect.ValueOf(visitor).MethodByName(name), "x")
	}
	for _, client := range []any{guest, admin, stranger} {
		v := reflect.ValueOf(client)
		for i := range v.NumMethod() {
			if name := v.Type().Method(i).Name; name != "Close" && name != "Reconnect" && !slices.Contains(ofVisitors, name) {
				callWithSamples(t, name, v.Method(i), "x")
				if slices.Contains(alsoOfMaster, name) {
					callWithSamples(t, name, v.Method(i), "")
				}
			}
		}
	}
	guest.Close()
	admin.Close()
	stranger.Close()
	visitor.Close()

	text := ask(t, g.channel(as(callerAdmin)), "GET", "/metrics", "").body
	reached := map[string]bool{}
	for _, m := range regexp.MustCompile(`mooring_requests_total\{endpoint="([^"]+)",kind="ok"\}`).FindAllStringSubmatch(text, -1) {
		reached[m[1]] = true
	}
	known := map[string]bool{}
	for _, e := range endpoints {
		known[e.name()] = true
	}
	assert.Equal(t, slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(reached)))
}

// alsoOfMaster are methods that have another endpoint without a vmgroup, their
// first argument.
var alsoOfMaster = []string{
	"OIDC", "PutOIDC", "RemoveOIDC",
	"Notifications", "PutNotifications", "TestNotifications",
	"Users", "User", "CreateUser", "UpdateUser", "RemoveUser",
}

// ofVisitors are methods for people who have not logged in.
var ofVisitors = []string{"Login", "FirstAdmin"}

// callWithSamples calls a client's method with a context and with words, of
// which first is the first one.
func callWithSamples(t *testing.T, name string, method reflect.Value, first string) {
	t.Helper()
	args := []reflect.Value{reflect.ValueOf(t.Context())}
	for i := 1; i < method.Type().NumIn(); i++ {
		arg := reflect.New(method.Type().In(i)).Elem()
		if arg.Kind() == reflect.String {
			arg.SetString("x")
			if i == 1 {
				arg.SetString(first)
			}
		}
		args = append(args, arg)
	}
	require.Equal(t, reflect.TypeFor[context.Context](), method.Type().In(0), name)
	results := method.Call(args)
	for _, r := range results {
		switch r := r.Interface().(type) {
		case hostclient.Download:
			_, err := io.Copy(io.Discard, r)
			assert.NoError(t, err, name)
			assert.NoError(t, r.Close(), name)
		case iter.Seq2[wire.Job, error]:
			for _, err := range r {
				assert.NoError(t, err, name)
			}
		case iter.Seq2[wire.Event, error]:
			for e, err := range r {
				assert.NoError(t, err, name)
				assert.Equal(t, wire.EventJob, e.Kind)
			}
		}
	}
	err, _ := results[len(results)-1].Interface().(error)
	assert.NoError(t, err, name)
}
