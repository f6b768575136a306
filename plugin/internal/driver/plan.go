package driver

import (
	"maps"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/ledger"
)

// evidentPrefix marks uses that were found among the engine's containers; a
// container id follows.
const evidentPrefix = "engine:"

// pendingGrace is how long a volume whose last use was given back must look
// unused: Mount records a disk a moment before it counts its use.
const pendingGrace = time.Second

// facts is everything reconciliation decides on.
type facts struct {
	now   time.Time
	grace time.Duration

	ledger  map[volspec.VolumeID]ledger.Volume
	mounted map[volspec.VolumeID]Mounted
	busy    func(id volspec.VolumeID, name string) bool // work or an attach is going on

	evidence bool // the engine answered
	running  map[volspec.VolumeID][]string
	coming   map[volspec.VolumeID]bool // containers being created, recently

	hostKnown bool // the host service answered
	attached  map[volspec.VolumeID]wire.Attachment
}

// idleSince says since when something was seen without a use, and under
// which attachment.
type idleSince struct {
	at    time.Time
	epoch int64
}

// step is what to do about one volume.
type step struct {
	id       volspec.VolumeID
	name     string
	epoch    int64
	adopt    []string             // containers that use it without our count
	drop     map[string]time.Time // mount IDs nobody has any more, with their last change
	release  bool
	forget   bool // the ledger's record of a disk that nobody has
	shadowed bool // containers run on something that is not this volume
}

// plan compares mount table, ledger, engine and host service. It decides and
// does nothing; next replaces idle. No evidence is never evidence of absence.
func plan(f facts, idle map[volspec.VolumeID]idleSince) (steps []step, next map[volspec.VolumeID]idleSince) {
	next = map[volspec.VolumeID]idleSince{}
	ids := map[volspec.VolumeID]bool{}
	for id := range f.ledger {
		ids[id] = true
	}
	for id := range f.mounted {
		ids[id] = true
	}
	for id := range f.attached {
		ids[id] = true
	}
	for id := range f.running {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		s, since := planVolume(f, id, idle[id])
		if !since.at.IsZero() {
			next[id] = since
		}
		if s.adopt != nil || s.drop != nil || s.release || s.forget || s.shadowed {
			steps = append(steps, s)
		}
	}
	return steps, next
}

func planVolume(f facts, id volspec.VolumeID, idle idleSince) (s step, since idleSince) {
	held, known := f.ledger[id]
	att, attached := f.attached[id]
	_, mounted := f.mounted[id]
	s = step{id: id, name: held.Name, epoch: held.Epoch}
	if attached {
		s.name, s.epoch = att.Name, att.Epoch
	}
	if f.busy(id, s.name) {
		return step{}, idleSince{}
	}
	left := held.Count()
	if f.evidence {
		s.drop = staleUses(f, id, held)
		for m := range s.drop {
			left -= held.Uses[m].Count
		}
	}
	if users := f.running[id]; len(users) > 0 {
		switch {
		case f.hostKnown && !attached:
			s.shadowed = true
		case left == 0:
			s.adopt = users
		}
		return s, idleSince{}
	}
	if left > 0 || f.coming[id] {
		return s, idleSince{}
	}
	if !mounted && !attached {
		// Without the service's word a recorded disk may still be attached.
		s.forget = known && f.hostKnown
		return s, idleSince{}
	}
	since = idle
	if since.at.IsZero() || since.epoch != s.epoch {
		since = idleSince{at: f.now, epoch: s.epoch}
	}
	// A record without uses was given back: that needs no other witness. A
	// mount or attachment without record needs the engine to know of no user.
	wait := f.grace
	if known && len(s.drop) == 0 {
		wait = min(wait, pendingGrace)
	} else if !f.evidence {
		return s, since
	}
	s.release = f.now.Sub(since.at) >= wait
	return s, since
}

// staleUses are the uses that no container stands behind. An evident one goes
// with its container; one that the engine asked for may belong to a container
// that is just being started.
func staleUses(f facts, id volspec.VolumeID, held ledger.Volume) map[string]time.Time {
	drop := map[string]time.Time{}
	for mount, u := range held.Uses {
		if u.Evident {
			if !slices.Contains(f.running[id], mount[min(len(evidentPrefix), len(mount)):]) {
				drop[mount] = u.Last
			}
			continue
		}
		if len(f.running[id]) == 0 && !f.coming[id] && f.now.Sub(u.Last) >= f.grace {
			drop[mount] = u.Last
		}
	}
	if len(drop) == 0 {
		return nil
	}
	return drop
}
