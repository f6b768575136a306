package volspec

// State is where a volume is in its life.
type State string

// creating → ready → trashed → gone. Deleting is the way from trashed to
// gone: the disk may already be missing. Whether a ready volume is attached
// is a fact of the hypervisor, not a state.
const (
	Creating State = "creating"
	Ready    State = "ready"
	Trashed  State = "trashed"
	Deleting State = "deleting"
)

// Format says whether a disk has ever been formatted. It is a fact of the
// catalog and only moves forward, except that a disk whose first mkfs was
// interrupted, and which therefore never held data, is replaced by a new
// blank one.
type Format string

// The steps of a disk's only formatting.
const (
	Blank      Format = "blank"
	Formatting Format = "formatting"
	Formatted  Format = "formatted"
)
