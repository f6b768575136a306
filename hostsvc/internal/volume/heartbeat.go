package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Heartbeat takes what a guest says of itself and answers what it holds. The
// guest's word changes only what it alone can know: the size of its
// filesystems. Safe to repeat and to lose.
func (s *Service) Heartbeat(ctx context.Context, c volspec.Caller, h wire.Heartbeat) (wire.HeartbeatReply, error) {
	s.mu.Lock()
	s.seen[c.VM] = guestState{at: now(), plugin: h.Plugin}
	s.mu.Unlock()

	held, err := s.heldBy(ctx, c.VM)
	if err != nil {
		return wire.HeartbeatReply{}, err
	}
	uses := map[volspec.VolumeID]wire.VolumeUse{}
	for _, u := range h.Uses {
		uses[u.ID] = u
	}
	reply := wire.HeartbeatReply{Attachments: []wire.Attachment{}}
	for _, r := range held {
		if r.Op.Kind != "" {
			continue // neither attached nor detached yet
		}
		reply.Attachments = append(reply.Attachments, attachment(r, r.Serial))
		u, ok := uses[r.ID]
		if !ok || u.Epoch != r.Holder.Epoch || !u.Mounted || !fsChanged(r, u) {
			continue
		}
		_, err := s.update(ctx, r.ID, func(_ Tx, r *Record) error {
			if r.Holder.VM == c.VM && r.Holder.Epoch == u.Epoch {
				r.FSSize, r.FSNote = volspec.Size(u.FSBytes), clipNote(u.FSNote)
			}
			return nil
		})
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return reply, err
		}
	}
	return reply, nil
}

func fsChanged(r Record, u wire.VolumeUse) bool {
	return volspec.Size(u.FSBytes) != r.FSSize || clipNote(u.FSNote) != r.FSNote
}

// clipNote bounds what a guest can make the catalog keep.
func clipNote(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:200])
	}
	return s
}

func (s *Service) heldBy(ctx context.Context, vm volspec.VMID) (held []Record, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		held, err = tx.Volumes(Filter{Holder: vm})
		return err
	})
	return held, err
}

// LastSeen is when a VM's guest last spoke to this process; zero when never.
func (s *Service) LastSeen(vm volspec.VMID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[vm].at
}
