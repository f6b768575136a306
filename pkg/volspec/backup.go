package volspec

// The identifiers of backup, UUIDs like the others.
type (
	// RepositoryID is of one repository, for life.
	RepositoryID string
	// PointID is of one recovery point. A copy in a second repository has an id
	// of its own.
	PointID string
	// PolicyID is of one backup policy.
	PolicyID string
	// JobID is of one run of a job.
	JobID string
)

// PointState says how far a recovery point has been proved. A point that is
// not at least completed is never listed.
type PointState string

// completed: all bytes of the snapshot are accounted for in the repository.
// verified: every block was read back and hashed. proven: restored to
// scratch, its filesystem checked and mounted. damaged: a block of it cannot
// be read; the next backup of the same content heals it.
const (
	Completed PointState = "completed"
	Verified  PointState = "verified"
	Proven    PointState = "proven"
	Damaged   PointState = "damaged"
)

// Consistency says what moment a recovery point shows.
type Consistency string

// FilesystemConsistent: frozen by the guest, or not attached. CrashConsistent:
// one moment, as after a power failure.
const (
	FilesystemConsistent Consistency = "filesystem"
	CrashConsistent      Consistency = "crash"
)

// PointsDatastore is the read-only datastore of this machine on which recovery
// points appear as disks while a volume shows one (view-of). It is in no access
// row, and no volume is named after it.
const PointsDatastore = "recovery-points"
