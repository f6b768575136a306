package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// One tenant's user storms; another's is answered all the time.
func TestAStormIsRefusedAndOthersAreNot(t *testing.T) {
	p := newPeopleAt(t, Pace{User: 4, Tenant: 1000, Address: 1000, AtOnce: 1000})
	_, err := p.accounts.CreateUser(t.Context(), callerAdmin, "x", wire.CreateUser{Name: "ida", Role: volspec.TenantAdmin, Password: password})
	require.NoError(t, err)
	storm, calm := p.login("x", "tom"), p.login("x", "ida")

	var mu sync.Mutex
	kinds := map[errkind.Kind]int{}
	var storming sync.WaitGroup
	for range 8 {
		storming.Go(func() {
			for range 50 {
				_, err := storm.Session(t.Context())
				mu.Lock()
				kinds[errkind.Of(err)]++
				mu.Unlock()
			}
		})
	}
	for range 30 {
		_, err := calm.Session(t.Context())
		assert.NoError(t, err)
	}
	storming.Wait()
	assert.GreaterOrEqual(t, kinds[""], 40, "ten seconds' worth: %v", kinds)
	assert.Positive(t, kinds[errkind.Busy], "%v", kinds)
	assert.Equal(t, 400, kinds[""]+kinds[errkind.Busy], "nothing else happens: %v", kinds)
}

func TestWhoIsRefusedLearnsWhenToGoOn(t *testing.T) {
	begun := time.Now()
	p := newPeopleBy(t, NewThrottle(Pace{User: 1000, Tenant: 1000, Address: 1, AtOnce: 1000}, func() time.Time { return begun }))
	for range 10 {
		resp, _ := p.send("GET", "/session", "", "Authorization: Bearer nobody", "X-Forwarded-For: 192.0.2.1")
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	}
	for i, h := range []string{"Authorization: Bearer nobody 2", "Cookie: " + SessionCookie + "=old", "X-Forwarded-For: 192.0.2.2", "Forwarded: for=192.0.2.3"} {
		resp, body := p.send("GET", "/session", "", h)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, "%d: %s", i, body)
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		require.NoError(t, err)
		assert.Positive(t, seconds)
		assert.LessOrEqual(t, seconds, 10)
		assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		var said wire.Problem
		require.NoError(t, json.Unmarshal([]byte(body), &said))
		assert.Equal(t, string(errkind.Busy), said.Kind)
		assert.Contains(t, said.Detail, "go on in")
		assert.NotEmpty(t, said.Request)
	}
	c := hostclient.NewAdmin("unix://"+p.channel(as(callerAdmin)), hostclient.Options{})
	defer c.Close()
	for range 30 {
		_, err := c.VMGroups(t.Context())
		require.NoError(t, err, "the admin socket is not limited")
	}
}

// asker makes requests of one caller that a throttle sees, without a server.
type asker struct {
	t      *testing.T
	by     *Throttle
	caller volspec.Caller
	from   string
	proof  string
	ctx    context.Context // nil: of the test
}

// ask makes one and returns what ends it.
func (a asker) ask() (leave func(), err error) {
	ctx := a.ctx
	if ctx == nil {
		ctx = a.t.Context()
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.RemoteAddr = a.from
	if a.proof != "" {
		r.Header.Set("Authorization", "Bearer "+a.proof)
	}
	k, r, err := a.by.enter(httptest.NewRecorder(), r)
	if err != nil {
		return func() {}, err
	}
	id := a.by.Identity(func(context.Context, *http.Request) (volspec.Caller, error) { return a.caller, nil })
	if _, err = id(r.Context(), r); err == nil {
		_, err = id(r.Context(), r) // a page may ask twice
	}
	return k.leave, err
}

// most is how many requests are answered before the first refusal.
func (a asker) most(limit int) int {
	for i := range limit {
		leave, err := a.ask()
		leave()
		if err != nil {
			assert.Equal(a.t, errkind.Busy, errkind.Of(err), "%v", err)
			return i
		}
	}
	return limit
}

func TestWhoSharesALimit(t *testing.T) {
	tom := volspec.Caller{User: "tom", Group: "x", GroupName: "x", Role: volspec.TenantAdmin}
	ida := volspec.Caller{User: "ida", Group: "x", GroupName: "x", Role: volspec.TenantAdmin}
	foreign := volspec.Caller{User: "eve", Group: "y", GroupName: "y", Role: volspec.TenantAdmin}
	ann := volspec.Caller{User: "ann", Admin: true, Role: volspec.MasterAdmin}
	acting := volspec.Caller{User: "ann", Group: "x", GroupName: "x", As: "x", Role: volspec.TenantAdmin}
	visitor := volspec.Caller{Visitor: true}
	for name, tc := range map[string]struct {
		pace          Pace
		first, second asker
		want          int // of the second, after the first has had all
	}{
		"two tokens of a user":            {Pace{2, 9, 9, 9}, asker{caller: tom, proof: "a"}, asker{caller: tom, proof: "b"}, 0},
		"two users of a tenant":           {Pace{2, 9, 9, 9}, asker{caller: tom, proof: "a"}, asker{caller: ida, proof: "b"}, 20},
		"a tenant's limit":                {Pace{2, 3, 9, 9}, asker{caller: tom, proof: "a"}, asker{caller: ida, proof: "b"}, 10},
		"two tenants":                     {Pace{2, 2, 9, 9}, asker{caller: tom, proof: "a"}, asker{caller: foreign, proof: "b"}, 20},
		"the master acts for the tenant":  {Pace{2, 2, 9, 9}, asker{caller: acting, proof: "a"}, asker{caller: tom, proof: "b"}, 20},
		"the master acts and does not":    {Pace{2, 9, 9, 9}, asker{caller: acting, proof: "a"}, asker{caller: ann, proof: "b"}, 0},
		"two addresses":                   {Pace{9, 9, 2, 9}, asker{caller: visitor, from: "192.0.2.1:1"}, asker{caller: visitor, from: "192.0.2.2:1"}, 20},
		"two connections":                 {Pace{9, 9, 2, 9}, asker{caller: visitor, from: "192.0.2.1:1"}, asker{caller: visitor, from: "192.0.2.1:2"}, 0},
		"an address of a network":         {Pace{9, 9, 2, 9}, asker{caller: visitor, from: "[2001:db8::1]:1"}, asker{caller: visitor, from: "[2001:db8::2:1]:1"}, 0},
		"two networks":                    {Pace{9, 9, 2, 9}, asker{caller: visitor, from: "[2001:db8::1]:1"}, asker{caller: visitor, from: "[2001:db8:0:1::1]:1"}, 20},
		"visitors and users of an office": {Pace{2, 9, 2, 9}, asker{caller: visitor, from: "192.0.2.1:1"}, asker{caller: tom, proof: "a", from: "192.0.2.1:1"}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			by := NewThrottle(tc.pace, func() time.Time { return now })
			for _, a := range []*asker{&tc.first, &tc.second} {
				a.t, a.by = t, by
				if a.from == "" {
					a.from = "192.0.2.9:1"
				}
			}
			assert.Equal(t, 20, tc.first.most(1000))
			assert.Equal(t, tc.want, tc.second.most(1000))
			assert.Empty(t, by.open)
		})
	}
}

func TestRequestsAtOnce(t *testing.T) {
	by := NewThrottle(Pace{100, 100, 100, 3}, time.Now)
	user := func(name, group string) asker {
		return asker{t: t, by: by, from: "192.0.2.1:1", proof: name, caller: volspec.Caller{User: volspec.UserID(name), Group: volspec.VMGroupID(group), GroupName: group, Role: volspec.TenantAdmin}}
	}
	var leave []func()
	for i := range 3 {
		end, err := user(fmt.Sprint("u", i), "x").ask()
		require.NoError(t, err)
		leave = append(leave, end)
	}
	end, err := user("u3", "x").ask()
	assert.Equal(t, errkind.Busy, errkind.Of(err), "%v", err)
	end()
	end, err = user("v", "y").ask()
	assert.NoError(t, err, "another tenant")
	end()
	leave[0]()
	end, err = user("u3", "x").ask()
	assert.NoError(t, err)
	for _, f := range append(leave[1:], end) {
		f()
	}
	assert.Empty(t, by.open)
}

// An open stream is one request, however much it sends.
func TestAStreamIsOneRequest(t *testing.T) {
	p := newPeopleAt(t, Pace{User: 1000, Tenant: 1000, Address: 1000, AtOnce: 2})
	c := p.login("x", "tom")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	for range 2 {
		begun := make(chan struct{}, 1000)
		go func() {
			defer func() { done <- struct{}{} }()
			for range c.JobEvents(ctx, "x", "1") {
				begun <- struct{}{}
			}
		}()
		<-begun
	}
	_, err := c.Session(t.Context())
	assert.Equal(t, errkind.Busy, errkind.Of(err), "%v", err)
	stop()
	<-done
	<-done
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		_, err := c.Session(t.Context())
		assert.NoError(ct, err)
	}, 30*time.Second, 10*time.Millisecond)
}
