package api

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Image is a download that never ends.
func (e endless) Image(ctx context.Context, _ volspec.Caller, _, _ string, start func(string, int64), w io.Writer) error {
	start("x.img", -1)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := w.Write(make([]byte, piece)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// live is what somebody has running: the events of a job, a wait and a download.
type live struct {
	*hostclient.Admin
	ended []chan error
}

func (p *peopleRig) live(c *hostclient.Admin) live {
	t := p.t
	t.Helper()
	l := live{Admin: c}
	begun := make(chan struct{}, 2)
	run := func(do func() error) {
		done := make(chan error, 1)
		l.ended = append(l.ended, done)
		go func() { done <- do() }()
	}
	run(func() error {
		for _, err := range c.JobEvents(t.Context(), "x", "1") {
			if err != nil {
				return err
			}
			select {
			case begun <- struct{}{}:
			default:
			}
		}
		return nil
	})
	<-begun
	run(func() error {
		d, err := c.Image(t.Context(), "x", "p")
		if err != nil {
			return err
		}
		defer d.Close()
		begun <- struct{}{}
		_, err = io.Copy(io.Discard, d)
		return err
	})
	<-begun
	before := p.waits()
	run(func() error {
		_, err := c.Job(t.Context(), "x", "1", int(time.Hour/time.Millisecond))
		return err
	})
	require.Eventually(t, func() bool { return p.waits() > before }, time.Minute, 5*time.Millisecond)
	return l
}

// waits counts the waits that began.
func (p *peopleRig) waits() (n int) {
	p.uses.mu.Lock()
	defer p.uses.mu.Unlock()
	for _, c := range p.uses.calls {
		if c.op == "wait" {
			n++
		}
	}
	return n
}

// over wants that all of it has ended with an error. Events of what is allowed
// still the client asks for again by itself.
func (l live) over(t *testing.T, whose, left string) {
	t.Helper()
	for i, done := range l.ended {
		if i == 0 && left == weaker {
			continue
		}
		select {
		case err := <-done:
			assert.Error(t, err, "%s, %d: it does not look like its end", whose, i)
		case <-time.After(time.Minute):
			assert.Fail(t, "it goes on", "%s, %d", whose, i)
		}
	}
}

// on wants that none of it has ended.
func (l live) on(t *testing.T, whose string) {
	t.Helper()
	for i, done := range l.ended {
		select {
		case err := <-done:
			assert.Fail(t, "it ended", "%s, %d: %v", whose, i, err)
		default:
		}
	}
	_, err := l.Repositories(t.Context(), "")
	assert.NoError(t, err, whose)
}

// What is left of somebody's authority.
const (
	gone   = "nothing"
	weaker = "less, or for somebody else" // what runs ends; what is allowed still can be asked again
	same   = "all"
)

// Whatever takes authority away ends what runs by it, at once, and nothing else:
// streams, downloads and waits of sessions, of tokens, and of a user of the
// master who acts for the tenant.
func TestWhatRunsEndsWithItsAuthority(t *testing.T) {
	set := func(group, name string, r wire.UpdateUser) func(*peopleRig, live) error {
		return func(p *peopleRig, _ live) error {
			_, err := p.accounts.UpdateUser(p.t.Context(), callerAdmin, group, name, r)
			return err
		}
	}
	for name, tc := range map[string]struct {
		change                 func(p *peopleRig, own live) error // own: in the session
		session, token, acting string
	}{
		"disabled": {set("x", "tom", wire.UpdateUser{Enabled: new(false)}), gone, gone, same},
		"removed": {func(p *peopleRig, _ live) error {
			return p.accounts.RemoveUser(p.t.Context(), callerAdmin, "x", "tom")
		}, gone, gone, same},
		"demoted":      {set("x", "tom", wire.UpdateUser{Role: new(volspec.RestoreOperator)}), weaker, weaker, same},
		"new password": {set("x", "tom", wire.UpdateUser{ResetPassword: true}), gone, same, same},
		"session ended": {func(p *peopleRig, own live) error {
			all, err := own.Sessions(p.t.Context())
			require.NoError(p.t, err)
			return p.login("x", "tom").EndSession(p.t.Context(), all[0].ID)
		}, gone, same, same},
		"token removed": {func(p *peopleRig, own live) error { return own.RemoveToken(p.t.Context(), "script") }, same, gone, same},
		"vmgroup disabled": {func(p *peopleRig, _ live) error {
			return p.tenancy.Update(p.t.Context(), func(tx tenancy.Tx) error {
				return tx.PutGroup(volspec.VMGroup{ID: "id-of-x", Name: "x", State: volspec.GroupDisabled})
			})
		}, gone, gone, same},
		"master demoted":  {set("", "amy", wire.UpdateUser{Role: new(volspec.MasterViewer)}), same, same, weaker},
		"master disabled": {set("", "amy", wire.UpdateUser{Enabled: new(false)}), same, same, gone},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			_, err := p.accounts.CreateUser(t.Context(), callerAdmin, "", wire.CreateUser{Name: "amy", Role: volspec.MasterAdmin, Password: password})
			require.NoError(t, err)
			own := p.login("x", "tom")
			k, err := own.CreateToken(t.Context(), wire.CreateToken{Name: "script"})
			require.NoError(t, err)
			amy := p.login("", "amy")
			_, err = amy.ActAs(t.Context(), wire.ActAs{VMGroup: "x"})
			require.NoError(t, err)
			by := map[string]live{"session": p.live(own), "token": p.live(p.client(k.Secret)), "acting": p.live(amy)}

			require.NoError(t, tc.change(p, by["session"]))
			want := map[string]string{"session": tc.session, "token": tc.token, "acting": tc.acting}
			for whose, left := range want {
				if left == same {
					continue
				}
				by[whose].over(t, whose, left)
				_, err := by[whose].Repositories(t.Context(), "")
				assert.Equal(t, left == gone, err != nil, "%s: %v", whose, err)
			}
			for whose, left := range want {
				if left == same {
					by[whose].on(t, whose)
				}
			}
		})
	}
}

// Who stops acting for a tenant has nothing left that runs for it.
func TestWhatRunsEndsWithActing(t *testing.T) {
	p := newPeople(t)
	c := p.login("", "ann")
	_, err := c.ActAs(t.Context(), wire.ActAs{VMGroup: "x"})
	require.NoError(t, err)
	l := p.live(c)
	_, err = c.StopActing(t.Context())
	require.NoError(t, err)
	l.over(t, "acting", gone)
	_, err = c.Status(t.Context())
	require.NoError(t, err)
}

// A tenant that refuses its provider content ends what the provider reads of it,
// and nothing else.
func TestDownloadsEndWithTheRightToContent(t *testing.T) {
	p := newPeople(t)
	c := p.login("", "ann")
	_, err := c.ActAs(t.Context(), wire.ActAs{VMGroup: "x"})
	require.NoError(t, err)
	acting, own := p.live(c), p.live(p.login("x", "tom"))
	require.NoError(t, p.tenancy.Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutDetails("id-of-x", tenancy.Details{Security: tenancy.Security{ContentRefused: true}})
	}))
	live{c, acting.ended[1:2]}.over(t, "the download", gone)
	live{c, []chan error{acting.ended[0], acting.ended[2]}}.on(t, "what is no content")
	own.on(t, "own")
}
