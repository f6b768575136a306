package slots

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func upTo(n int32) (all []int32) {
	for u := range n {
		if u != 7 {
			all = append(all, u)
		}
	}
	return all
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		hardware int
		there    []Controller
		want     Slot
		full     bool
	}{
		"a VM without SCSI":                   {20, nil, Slot{New: true, Controller: -100}, false},
		"beside the system disk":              {20, []Controller{{1000, 0, true, []int32{0}}}, Slot{false, 1000, 0, 1}, false},
		"the controller's own unit":           {20, []Controller{{1000, 0, true, upTo(7)}}, Slot{false, 1000, 0, 8}, false},
		"a hole is filled":                    {20, []Controller{{1000, 0, true, []int32{0, 2}}}, Slot{false, 1000, 0, 1}, false},
		"beyond the 15 of old":                {14, []Controller{{1000, 0, true, upTo(16)}}, Slot{false, 1000, 0, 16}, false},
		"old hardware has 15":                 {13, []Controller{{1000, 0, true, upTo(16)}}, Slot{true, -101, 1, 0}, false},
		"unknown hardware is old":             {0, []Controller{{1000, 0, true, upTo(16)}}, Slot{true, -101, 1, 0}, false},
		"another kind is left alone":          {20, []Controller{{1000, 0, false, []int32{0}}}, Slot{true, -101, 1, 0}, false},
		"the bus of another kind stays taken": {20, []Controller{{1001, 1, false, nil}, {1000, 0, true, upTo(64)}}, Slot{true, -102, 2, 0}, false},
		"the lowest bus first":                {20, []Controller{{1002, 2, true, nil}, {1000, 0, true, []int32{0}}}, Slot{false, 1000, 0, 1}, false},
		"the last slot":                       {20, []Controller{{1000, 0, true, upTo(64)}, {1001, 1, true, upTo(64)}, {1002, 2, true, upTo(64)}, {1003, 3, true, upTo(63)}}, Slot{false, 1003, 3, 63}, false},
		"full":                                {20, []Controller{{1000, 0, true, upTo(64)}, {1001, 1, true, upTo(64)}, {1002, 2, true, upTo(64)}, {1003, 3, true, upTo(64)}}, Slot{}, true},
		"full of other kinds":                 {20, []Controller{{1000, 0, false, nil}, {1001, 1, false, nil}, {1002, 2, false, nil}, {1003, 3, false, nil}}, Slot{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Choose(c.hardware, c.there)
			assert.Equal(t, !c.full, ok)
			assert.Equal(t, c.want, got)
		})
	}
}

// A VM is filled in any order and with anything removed in between: a slot is
// never given twice, and only a full VM is refused.
func TestFillingAVM(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hardware := rapid.SampledFrom([]int{0, 11, 13, 14, 20}).Draw(t, "hardware")
		var there []Controller
		for bus := range int32(buses) {
			if rapid.Bool().Draw(t, "there") {
				there = append(there, Controller{Key: 1000 + bus, Bus: bus, Usable: rapid.Bool().Draw(t, "usable")})
			}
		}
		room := 0
		for bus := range int32(buses) {
			i := slices.IndexFunc(there, func(c Controller) bool { return c.Bus == bus })
			if i < 0 || there[i].Usable {
				room += Room(hardware)
			}
		}
		used := 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "step") == 0 && used > 0 {
				i := slices.IndexFunc(there, func(c Controller) bool { return len(c.Units) > 0 })
				n := rapid.IntRange(0, len(there[i].Units)-1).Draw(t, "which")
				there[i].Units = slices.Delete(there[i].Units, n, n+1)
				used--
				continue
			}
			s, ok := Choose(hardware, there)
			require.Equal(t, used < room, ok)
			if !ok {
				continue
			}
			require.NotEqual(t, int32(7), s.Unit)
			require.LessOrEqual(t, s.Unit, int32(Room(hardware)))
			i := slices.IndexFunc(there, func(c Controller) bool { return c.Bus == s.Bus })
			require.Equal(t, s.New, i < 0)
			if s.New {
				there = append(there, Controller{Key: 1000 + s.Bus, Bus: s.Bus, Usable: true})
				i = len(there) - 1
			}
			require.True(t, there[i].Usable)
			require.NotContains(t, there[i].Units, s.Unit)
			there[i].Units = append(there[i].Units, s.Unit)
			used++
		}
	})
}
