package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// A volume held by one guest cannot be mounted by another: the command says
// who holds it, and no byte is written anywhere else. It can as soon as it is
// free; a waiting mount gets it without asking again.
func TestOneGuestAtATime(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "single", "size=32mb")
	keep(t, s.vm1, "holder", "single")

	s.Config.Volume.AttachWait = "2s"
	s.Stop(t)
	s.Start(t)
	t.Cleanup(func() {
		s.Config.Volume.AttachWait = "20s"
		s.Stop(t)
		s.Start(t)
	})
	sh(t, s.vm2, "single", "echo stolen >/vol/log").Fails(t, "vm1")
	s.vm2.Docker(ctx, "run", "-d", "--name", "loser", "--network=none", "-v", "single:/data", harness.Image, "sleep", "1").Fails(t, "vm1")
	s.vm2.Docker(ctx, "rm", "-f", "loser")
	s.attachedTo(t, "single", "vm1")
	s.vm1.Docker(ctx, "exec", "holder", "sh", "-c", "test $(wc -l </vol/log) -gt 0 && ! grep -q stolen /vol/log").OK(t)

	s.Config.Volume.AttachWait = "20s"
	s.Stop(t)
	s.Start(t)
	got := make(chan harness.Result)
	go func() { got <- sh(t, s.vm2, "single", "tail -1 /vol/log; echo moved >/vol/moved") }()
	time.Sleep(3 * time.Second)
	drop(t, s.vm1, "holder")
	(<-got).OK(t)
	s.attachedTo(t, "single", "")
	require.Equal(t, "moved", sh(t, s.vm1, "single", "cat /vol/moved").OK(t).Stdout)
	s.attachedTo(t, "single", "")
	remove(t, s.vm1, "single")
}

// Power off frees a guest's volumes for others, with the data intact; the
// returning guest finds them detached and takes no part of them back.
func TestPowerOffFreesVolumes(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "moving", "size=32mb")
	keep(t, s.vm1, "writer", "moving", "--restart=no")
	s.vm1.Docker(ctx, "exec", "writer", "sh", "-c", "echo precious >/vol/data; sync").OK(t)

	s.vm1.PowerOff(t)
	require.Equal(t, "precious", sh(t, s.vm2, "moving", "cat /vol/data; echo from vm2 >>/vol/data").OK(t).Stdout)
	keep(t, s.vm2, "next", "moving")
	s.attachedTo(t, "moving", "vm2")

	lab.Guest(t, "vm1")
	s.attachedTo(t, "moving", "vm2")
	s.vm1.Exec(ctx, "sh", "-c", "! ls /dev/mooring/* 2>/dev/null").OK(t)
	require.Equal(t, "exited", s.vm1.Docker(ctx, "inspect", "-f", "{{.State.Status}}", "writer").OK(t).Stdout)
	s.vm2.Docker(ctx, "exec", "next", "tail", "-1", "/vol/log").OK(t)
	drop(t, s.vm2, "next")
	s.attachedTo(t, "moving", "")
	require.Equal(t, "precious\nfrom vm2", sh(t, s.vm1, "moving", "cat /vol/data").OK(t).Stdout)
	s.attachedTo(t, "moving", "")
	drop(t, s.vm1, "writer")
	remove(t, s.vm1, "moving")
}

// A guest that loses power and comes back before anybody asks: its
// restart=always container runs again on its volume.
func TestPowerCycle(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "cycle", "size=32mb")
	keep(t, s.vm1, "always", "cycle", "--restart=always")
	s.vm1.Docker(t.Context(), "exec", "always", "sh", "-c", "echo before >/vol/data; sync").OK(t)
	s.vm1.PowerOff(t)
	lab.Guest(t, "vm1")
	running(t, s.vm1, "always")
	require.Equal(t, "before", s.vm1.Docker(t.Context(), "exec", "always", "cat", "/vol/data").OK(t).Stdout)
	s.attachedTo(t, "cycle", "vm1")
	drop(t, s.vm1, "always")
	s.attachedTo(t, "cycle", "")
	remove(t, s.vm1, "cycle")
}

// The administrator's forced detach fences: the former holder's writes never
// reach the disk again, and another guest can use the volume.
func TestForcedDetach(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "fenced", "size=32mb")
	keep(t, s.vm1, "holder", "fenced")
	s.vm1.Docker(ctx, "exec", "holder", "sh", "-c", "echo kept >/vol/data; sync").OK(t)
	s.Mooring(ctx, "volume", "detach", "_DEFAULT/fenced@ds1", "--force").Fails(t, "--yes")
	s.Mooring(ctx, "volume", "detach", "_DEFAULT/fenced@ds1", "--force", "--yes").OK(t)
	s.attachedTo(t, "fenced", "")
	keep(t, s.vm2, "next", "fenced")
	s.vm1.Docker(ctx, "exec", "holder", "sh", "-c", "echo evil >/vol/data; sync")
	drop(t, s.vm1, "holder")
	s.attachedTo(t, "fenced", "vm2")
	require.Equal(t, "kept", s.vm2.Docker(ctx, "exec", "next", "cat", "/vol/data").OK(t).Stdout)
	drop(t, s.vm2, "next")
	s.attachedTo(t, "fenced", "")
	remove(t, s.vm2, "fenced")
}
