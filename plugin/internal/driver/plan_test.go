package driver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/ledger"
)

func TestPlan(t *testing.T) {
	const id = volspec.VolumeID("a")
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	long, recent := t0.Add(-time.Hour), t0.Add(-time.Second)
	held := func(uses map[string]ledger.Use) map[volspec.VolumeID]ledger.Volume {
		return map[volspec.VolumeID]ledger.Volume{id: {Attached: ledger.Attached{Name: "v@ds", Epoch: 7}, Uses: uses}}
	}
	use := func(last time.Time) map[string]ledger.Use { return map[string]ledger.Use{"m": {Count: 1, Last: last}} }
	evident := map[string]ledger.Use{"engine:c": {Count: 1, Last: recent, Evident: true}}
	mounted := map[volspec.VolumeID]Mounted{id: {}}
	attached := map[volspec.VolumeID]wire.Attachment{id: {ID: id, Name: "v@ds", Epoch: 7}}
	running := map[volspec.VolumeID][]string{id: {"c"}}
	idleLong := idleSince{at: long, epoch: 7}

	for name, c := range map[string]struct {
		f     facts
		idle  idleSince
		want  step
		since bool // something is noted as idle
	}{
		"used and counted": {f: facts{ledger: held(use(long)), mounted: mounted, attached: attached, hostKnown: true, evidence: true, running: running}},
		"used, not counted": {
			f:    facts{mounted: mounted, attached: attached, hostKnown: true, evidence: true, running: running},
			want: step{id: id, name: "v@ds", epoch: 7, adopt: []string{"c"}},
		},
		"used and counted, but not attached": {
			f:    facts{ledger: held(use(long)), hostKnown: true, evidence: true, running: running},
			want: step{id: id, name: "v@ds", epoch: 7, shadowed: true},
		},
		"hidden mount, host away": {
			f:    facts{ledger: held(nil), evidence: true, running: running},
			want: step{id: id, name: "v@ds", epoch: 7, adopt: []string{"c"}},
		},
		"counted, container gone": {
			f:    facts{ledger: held(use(long)), mounted: mounted, attached: attached, hostKnown: true, evidence: true},
			want: step{id: id, name: "v@ds", epoch: 7, drop: map[string]time.Time{"m": long}}, since: true,
		},
		"counted, container starting": {f: facts{ledger: held(use(recent)), mounted: mounted, attached: attached, hostKnown: true, evidence: true}},
		"counted, container being created for long": {
			f: facts{ledger: held(use(long)), mounted: mounted, attached: attached, hostKnown: true, evidence: true, coming: map[volspec.VolumeID]bool{id: true}},
		},
		"counted, no evidence": {f: facts{ledger: held(use(long)), mounted: mounted, attached: attached, hostKnown: true}},
		"evident use, container gone": {
			f:    facts{ledger: held(evident), mounted: mounted, attached: attached, hostKnown: true, evidence: true},
			want: step{id: id, name: "v@ds", epoch: 7, drop: map[string]time.Time{"engine:c": recent}}, since: true,
		},
		"evident use, no evidence now": {f: facts{ledger: held(evident), mounted: mounted, attached: attached, hostKnown: true}},
		"given back but still here, first seen": {
			f: facts{ledger: held(nil), mounted: mounted, attached: attached, hostKnown: true}, since: true,
		},
		"given back but still here, no evidence needed": {
			f: facts{ledger: held(nil), mounted: mounted, attached: attached, hostKnown: true}, idle: idleLong,
			want: step{id: id, name: "v@ds", epoch: 7, release: true}, since: true,
		},
		"mounted without record, engine knows nobody": {
			f: facts{mounted: mounted, attached: attached, hostKnown: true, evidence: true}, idle: idleLong,
			want: step{id: id, name: "v@ds", epoch: 7, release: true}, since: true,
		},
		"mounted without record, no evidence": {
			f: facts{mounted: mounted, attached: attached, hostKnown: true}, idle: idleLong, since: true,
		},
		"attached without mount or record": {
			f: facts{attached: attached, hostKnown: true, evidence: true}, idle: idleLong,
			want: step{id: id, name: "v@ds", epoch: 7, release: true}, since: true,
		},
		"attached anew since it was seen idle": {
			f: facts{attached: attached, hostKnown: true, evidence: true}, idle: idleSince{at: long, epoch: 6}, since: true,
		},
		"mounted but taken away by the host": {
			f: facts{ledger: held(nil), mounted: mounted, hostKnown: true}, idle: idleLong,
			want: step{id: id, name: "v@ds", epoch: 7, release: true}, since: true,
		},
		"record of a disk nobody has": {
			f: facts{ledger: held(nil), hostKnown: true}, want: step{id: id, name: "v@ds", epoch: 7, forget: true},
		},
		"record of a disk, host away": {f: facts{ledger: held(nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			c.f.now, c.f.grace = t0, time.Minute
			c.f.busy = func(volspec.VolumeID, string) bool { return false }
			idle := map[volspec.VolumeID]idleSince{id: c.idle}
			steps, next := plan(c.f, idle)
			if c.want.id == "" {
				assert.Empty(t, steps)
			} else {
				assert.Equal(t, []step{c.want}, steps)
			}
			assert.Equal(t, c.since, len(next) == 1)

			c.f.busy = func(volspec.VolumeID, string) bool { return true }
			steps, next = plan(c.f, idle)
			assert.Empty(t, steps, "what is being mounted is left alone")
			assert.Empty(t, next)
		})
	}
}
