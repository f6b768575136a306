package vc

import "github.com/google/uuid"

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
		t.Epoch = uuid.NewString()
	}
}
