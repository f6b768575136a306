package vc

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// tracking is the changed-block tracking of one disk.
type tracking struct {
	On    bool
	Epoch string // generation: another one means that nothing is known of before
	N     int
}

func (t *tracking) set(on bool) {
	if on == t.On {
		return
	}
	*t = tracking{On: on}
	if on {
		t.reset()
	}
}

// reset forgets all changes that were recorded.
func (t *tracking) reset() {
	if !t.On {
		return
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	t.Epoch, t.N = spaced(b), 0
}

// next is the change id of a snapshot.
func (t *tracking) next() string {
	if !t.On {
		return ""
	}
	t.N++
	return fmt.Sprintf("%s/%d", t.Epoch, t.N)
}

// Limits of one answer, so that callers must ask again.
const (
	maxAreas = 16
	minSpan  = 256 << 20
)

func (s *Server) pointFile(id string) string {
	return filepath.Join(s.o.Dir, "state", "cbt", hex.EncodeToString([]byte(id)))
}

// mark keeps what a frozen file had under its change id.
func (s *Server) mark(l *link) types.BaseMethodFault {
	if l.ChangeID == "" {
		return nil
	}
	_, p, fault := s.resolve(l.File)
	if fault != nil {
		return fault
	}
	b, err := vmfile.Hash(vmfile.Flat(p))
	if err == nil {
		err = b.Save(s.pointFile(l.ChangeID))
	}
	if err != nil {
		return fileFault(l.File, err)
	}
	return nil
}

func cbtFault(file, key string) types.BaseMethodFault {
	return &types.FileFault{
		VimFault: types.VimFault{MethodFault: types.MethodFault{
			FaultMessage: []types.LocalizableMessage{{Key: "vim.hostd.vmsvc.cbt." + key, Message: "Cannot get changed areas: " + key}},
		}},
		File: file,
	}
}

// areas answers a query for changed areas: of the frozen file current, or of a
// file as it is now, against an earlier change id or "*".
func (s *Server) areas(file, current, since string, start int64) (*types.DiskChangeInfo, types.BaseMethodFault) {
	i, fault := s.readDisk(file)
	if fault != nil {
		return nil, fault
	}
	if start < 0 || start >= i.Size {
		return nil, &types.InvalidArgument{InvalidProperty: "startOffset"}
	}
	if current == "" {
		return nil, cbtFault(file, "noTrack")
	}
	now, err := vmfile.Load(s.pointFile(current))
	if err != nil {
		return nil, cbtFault(file, "noEpoch")
	}
	changed := make(map[int64]bool, len(now))
	if since == "*" {
		for n := range now {
			changed[n] = true
		}
	} else {
		old, err := s.point(since, current)
		if err != nil {
			return nil, cbtFault(file, "cannotGetChanges")
		}
		changed = now.Changed(old)
	}
	return cut(changed, start, i.Size), nil
}

var errPoint = errors.New("no such point")

// point is an earlier state of the same generation.
func (s *Server) point(since, current string) (vmfile.Blocks, error) {
	epoch, n, ok := strings.Cut(since, "/")
	epochNow, m, _ := strings.Cut(current, "/")
	if !ok || epoch != epochNow {
		return nil, errPoint
	}
	var a, b int
	if _, err := fmt.Sscanf(n+" "+m, "%d %d", &a, &b); err != nil || a > b {
		return nil, errPoint
	}
	return vmfile.Load(s.pointFile(since))
}

// cut makes areas of blocks, from start on, as many as one answer has.
func cut(changed map[int64]bool, start, size int64) *types.DiskChangeInfo {
	blocks := make([]int64, 0, len(changed))
	for n := range changed {
		if (n+1)*vmfile.Block > start && n*vmfile.Block < size {
			blocks = append(blocks, n)
		}
	}
	slices.Sort(blocks)
	end := min(size, start+max(minSpan, size/16))
	info := &types.DiskChangeInfo{StartOffset: start, Length: end - start}
	for _, n := range blocks {
		from, to := max(start, n*vmfile.Block), min(size, (n+1)*vmfile.Block)
		if from >= end {
			break
		}
		if k := len(info.ChangedArea); k > 0 && info.ChangedArea[k-1].Start+info.ChangedArea[k-1].Length == from {
			info.ChangedArea[k-1].Length = to - info.ChangedArea[k-1].Start
			continue
		}
		if len(info.ChangedArea) == maxAreas {
			info.Length = from - start
			return info
		}
		info.ChangedArea = append(info.ChangedArea, types.DiskChangeExtent{Start: from, Length: to - from})
	}
	// An area may reach past the span.
	if k := len(info.ChangedArea); k > 0 {
		a := info.ChangedArea[k-1]
		info.Length = max(info.Length, a.Start+a.Length-start)
	}
	return info
}
