package repositorytest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Storage is what the suite runs on. Every call of Place is an empty place of
// its own, Blobs counts what is in one, whoever put it there.
type Storage struct {
	Opener repository.Opener
	Place  func(t *testing.T) repository.Place
	Blobs  func(t *testing.T, p repository.Place) int

	shared repository.Repository // by the tests of Run that do not mind
	place  repository.Place      // of it
}

// Run checks that an implementation keeps the contract.
func Run(t *testing.T, s Storage) {
	tests := []struct {
		name string
		f    func(*testing.T, Storage)
	}{
		{"creates, opens and identifies", testIdentity},
		{"leaves an empty place alone", testEmpty},
		{"lists nothing that was not written, and what was", testPoints},
		{"reads only what changed", testIncremental},
		{"restores every size", testSizes},
		{"tells of changes that were not told", testTracking},
		{"repeats by id", testRepeat},
		{"falls back to a full read", testFallback},
		{"stops when asked, and goes on cheaply", testCancel},
		{"verifies", testVerify},
		{"copies", testCopy},
		{"counts", testStatus},
		{"maintains", testMaintain},
		{"shares nothing between tenants", testTenants},
	}
	s.shared, s.place = s.Create(t, "r-1")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.f(t, s) })
	}
}

// volume is a volume and its points in the repository that the tests share:
// making one takes long, since its key is derived slowly on purpose.
type volume struct {
	repository.Repository
	source repository.Source
	first  int
}

var volumes atomic.Int64

func (s Storage) volume() volume {
	n := int(volumes.Add(1))
	v := volume{Repository: s.shared, source: Source, first: n * 1000}
	v.source.Volume = volspec.VolumeID(fmt.Sprintf("0b0b5a4e-0000-4000-8000-%012d", n))
	return v
}

// id is the id of point n of the volume.
func (v volume) id(n int) volspec.PointID { return ID(v.first + n) }

// backup is a backup of img as point n; parent 0: none, changed nil reads
// everything.
func (v volume) backup(n int, img image.Image, parent int, changed []image.Extent) repository.Backup {
	b := Backup(v.first+n, img, "", changed)
	b.Point.Source = v.source
	if parent > 0 {
		b.Parent = v.id(parent)
	}
	return b
}

// points are those of the volume.
func (v volume) points(t *testing.T, r repository.Repository) (out []repository.Point) {
	all, err := r.Points(t.Context())
	require.NoError(t, err)
	for _, p := range all {
		if p.Source.Volume == v.source.Volume {
			out = append(out, p)
		}
	}
	return out
}

// Key is that of the suite's repositories.
const Key = "3f7a0c2e55d94b1e8a6f0d1c9b8e7a64"

// Source is the volume that the suite backs up.
var Source = repository.Source{Tenant: "7d3e1f5a-0000-4000-8000-000000000001", TenantName: "acme", Volume: "0b0b5a4e-0000-4000-8000-00000000000a", Name: "db@local"}

// Create makes a repository and opens it until the end of the test.
func (s Storage) Create(t *testing.T, id volspec.RepositoryID) (repository.Repository, repository.Place) {
	t.Helper()
	p := s.Place(t)
	_, err := s.Opener.Create(t.Context(), p, Key, repository.Identity{ID: id, Tenant: Source.Tenant})
	require.NoError(t, err)
	return s.Open(t, p, id), p
}

// Open opens a repository until the end of the test.
func (s Storage) Open(t *testing.T, p repository.Place, id volspec.RepositoryID) repository.Repository {
	t.Helper()
	r, err := s.Opener.Open(t.Context(), p, Key, id)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close(context.Background())) })
	return r
}

var began = time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)

// Backup is a backup of img as point number n; changed nil reads everything.
func Backup(n int, img image.Image, parent volspec.PointID, changed []image.Extent) repository.Backup {
	b := repository.Backup{
		Point: repository.Point{ID: ID(n), Source: Source, Created: began.Add(time.Duration(n) * time.Hour), Consistency: volspec.FilesystemConsistent},
		Image: img, Parent: parent,
	}
	if changed != nil {
		b.Changed = Extents(changed)
	}
	return b
}

// ID is the id of point number n.
func ID(n int) volspec.PointID {
	return volspec.PointID(fmt.Sprintf("5c5c0000-0000-4000-8000-%012d", n))
}

// Equal restores a point in two ways and compares it with want.
func Equal(t require.TestingT, r repository.Repository, id volspec.PointID, want image.Image) {
	ctx := context.Background()
	m, err := r.Open(ctx, id)
	require.NoError(t, err)
	defer func() { assert.NoError(t, m.Close()) }()
	at, err := Differ(want, m)
	require.NoError(t, err)
	require.EqualValues(t, -1, at, "first byte of %s that differs", id)
	d := NewDisk(m.Size())
	require.NoError(t, repository.CopyImage(ctx, d, m, 3, nil))
	s, _ := d.Snapshot()
	at, err = Differ(want, s)
	require.NoError(t, err)
	require.EqualValues(t, -1, at, "first byte of the restored %s that differs", id)
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// sample is a disk of 80 MiB with data, holes and a tail.
func sample(t *testing.T, seed uint64) *Disk {
	d := NewDisk(80<<20 + 512)
	r := random(seed)
	for _, e := range []image.Extent{{Offset: 0, Length: 64 << 10}, {Offset: 5<<20 + 17, Length: 3 << 20}, {Offset: 63 << 20, Length: 2 << 20}, {Offset: 80 << 20, Length: 512}} {
		require.NoError(t, d.Fill(r, e.Offset, e.Length))
	}
	return d
}

func testIdentity(t *testing.T, s Storage) {
	ctx := t.Context()
	p := s.Place(t)
	want := repository.Identity{ID: "r-1", Tenant: "t-1"}
	made, err := s.Opener.Create(ctx, p, Key, want)
	require.NoError(t, err)
	assert.Equal(t, want.ID, made.ID)
	assert.Equal(t, want.Tenant, made.Tenant)
	assert.Len(t, made.Unique, 64)
	assert.WithinDuration(t, time.Now(), made.Created, time.Minute)

	_, err = s.Opener.Create(ctx, p, Key, repository.Identity{ID: "r-2"})
	assert.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
	_, err = s.Opener.Create(ctx, p, "another", repository.Identity{ID: "r-2"})
	assert.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
	_, err = s.Opener.Open(ctx, p, "another", made.ID)
	assert.Equal(t, errkind.WrongKey, errkind.Of(err), "%v", err)
	_, err = s.Opener.Open(ctx, p, Key, "r-2")
	assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)

	for _, id := range []volspec.RepositoryID{"r-1", ""} {
		r, err := s.Opener.Open(ctx, p, Key, id)
		require.NoError(t, err)
		assert.Equal(t, made, r.Identity())
		st, err := r.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, made, st.Identity)
		assert.False(t, st.ReadOnly)
		require.NoError(t, r.Close(ctx))
		require.NoError(t, r.Close(ctx))
		_, err = r.Points(ctx)
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	}
}

func testEmpty(t *testing.T, s Storage) {
	p := s.Place(t)
	_, err := s.Opener.Open(t.Context(), p, Key, "r-1")
	assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)
	assert.Zero(t, s.Blobs(t, p))
}

func testPoints(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	assert.Empty(t, v.points(t, v))
	_, err := v.Point(ctx, v.id(1))
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	_, err = v.Open(ctx, v.id(1))
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	require.NoError(t, v.Delete(ctx, v.id(1)))

	d := sample(t, 1)
	img, _ := d.Snapshot()
	b := v.backup(2, img, 0, nil)
	b.Point.Meta = json.RawMessage(`{"fstype":"ext4"}`)
	var last repository.Progress
	two, err := v.Write(ctx, b, func(p repository.Progress) { last = p })
	require.NoError(t, err)
	assert.Equal(t, img.Size(), last.Done)
	assert.Equal(t, img.Size(), last.Total)
	assert.Equal(t, two.Stats.Read, last.Read)
	assert.GreaterOrEqual(t, last.Stored, two.Stats.Stored)
	assert.Equal(t, img.Size(), two.Size)
	assert.Equal(t, b.Point.Created, two.Created)
	assert.NotEmpty(t, two.Tracking)
	assert.EqualValues(t, 6<<20+512, two.Stats.Data, "blocks that are not zero")
	assert.Less(t, two.Stats.Stored, two.Stats.Data)
	assert.Positive(t, two.Stats.Stored)

	one, err := v.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.NoError(t, err)
	assert.Zero(t, one.Stats.New)
	other := s.Open(t, s.place, "r-1")
	for _, r := range []repository.Repository{v.Repository, other} {
		assert.Equal(t, []repository.Point{one, two}, v.points(t, r), "oldest first")
		got, err := r.Point(ctx, two.ID)
		require.NoError(t, err)
		assert.Equal(t, two, got)
		Equal(t, r, two.ID, img)
	}
	require.NoError(t, other.Delete(ctx, v.id(1)))
	require.NoError(t, other.Delete(ctx, v.id(1)))
	assert.Equal(t, []repository.Point{two}, v.points(t, v))
	Equal(t, v, two.ID, img)
}

func testIncremental(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	d := sample(t, 2)
	first, _ := d.Snapshot()
	_, err := v.Write(ctx, v.backup(1, first, 0, nil), nil)
	require.NoError(t, err)
	require.NoError(t, d.Fill(random(3), 40<<20+5, 1000))
	require.NoError(t, d.Discard(ctx, image.Extent{Offset: 6 << 20, Length: 1 << 20}))
	second, changed := d.Snapshot()
	two, err := v.Write(ctx, v.backup(2, second, 1, changed), nil)
	require.NoError(t, err)
	assert.Equal(t, v.id(1), two.Parent)
	assert.EqualValues(t, 1<<20, second.Read(), "one block changed, and a hole is not read")
	assert.Equal(t, second.Read(), two.Stats.Read)
	assert.EqualValues(t, 1<<20, two.Stats.New)
	assert.EqualValues(t, 6<<20+512, two.Stats.Data, "one block more, one less")

	again, changed := d.Snapshot()
	require.Empty(t, changed)
	three, err := v.Write(ctx, v.backup(3, again, 2, []image.Extent{}), nil)
	require.NoError(t, err)
	assert.Zero(t, again.Read())
	assert.Zero(t, three.Stats.New)
	assert.Equal(t, two.Stats.Data, three.Stats.Data)
	for i, img := range []image.Image{first, second, again} {
		Equal(t, v, v.id(i+1), img)
	}
}

func testSizes(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	d := NewDisk(512)
	rnd := random(4)
	for i, size := range []int64{512, 1 << 20, 1<<20 + 512, 64 << 20, 64<<20 + 1024, 200 << 20, 128 << 20, 65 << 20, 1024} {
		require.NoError(t, d.Resize(size))
		require.NoError(t, d.Fill(rnd, size-512, 512))
		img, changed := d.Snapshot()
		p, err := v.Write(ctx, v.backup(i+1, img, i, changed), nil)
		require.NoError(t, err)
		assert.Equal(t, size, p.Size)
		Equal(t, v, p.ID, img)
		full, err := v.Write(ctx, v.backup(101+i, img, 0, nil), nil)
		require.NoError(t, err)
		assert.Equal(t, full.Stats.Data, p.Stats.Data, "counted the same in both ways at %d bytes", size)
	}
	for _, size := range []int64{0, 100} {
		_, err := v.Write(ctx, v.backup(50, &Snapshot{size: size}, 0, nil), nil)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
	}
}

func testTracking(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	d := sample(t, 5)
	img, _ := d.Snapshot()
	_, err := v.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.NoError(t, err)
	for off := int64(0); off < d.Size(); off += 1 << 20 {
		require.NoError(t, d.Fill(random(6), off, 512))
	}
	lied, _ := d.Snapshot()
	b := v.backup(2, lied, 1, []image.Extent{})
	b.Sample = 1e-9 // at least one block all the same
	_, err = v.Write(ctx, b, nil)
	var tracking *repository.TrackingError
	require.ErrorAs(t, err, &tracking)
	assert.Less(t, tracking.Offset, d.Size())
	assert.Len(t, v.points(t, v), 1, "nothing is listed")

	b = v.backup(2, img, 1, []image.Extent{})
	b.Sample = 1
	_, err = v.Write(ctx, b, nil)
	require.NoError(t, err, "nothing changed")
}

func testRepeat(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	d := sample(t, 7)
	img, _ := d.Snapshot()
	one, err := v.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.NoError(t, err)
	require.NoError(t, d.Fill(random(8), 0, 1<<20))
	other, _ := d.Snapshot()
	again, err := v.Write(ctx, v.backup(1, other, 0, nil), nil)
	require.NoError(t, err)
	assert.Equal(t, one, again)
	assert.Zero(t, other.Read())
	Equal(t, v, v.id(1), img)
}

func testFallback(t *testing.T, s Storage) {
	ctx := t.Context()
	v, other := s.volume(), s.volume()
	img, _ := sample(t, 9).Snapshot()
	p, err := v.Write(ctx, v.backup(2, img, 1, []image.Extent{}), nil)
	require.NoError(t, err, "the parent is gone")
	assert.Empty(t, p.Parent)
	assert.Contains(t, p.Tracking, "full read")
	b := other.backup(3, img, 0, []image.Extent{})
	b.Parent = v.id(2)
	p, err = other.Write(ctx, b, nil)
	require.NoError(t, err, "the parent is of another volume")
	assert.Empty(t, p.Parent)
	assert.Contains(t, p.Tracking, "full read")
	Equal(t, v, v.id(2), img)
	Equal(t, v, other.id(3), img)
}

func testCancel(t *testing.T, s Storage) {
	v := s.volume()
	d := NewDisk(48 << 20)
	require.NoError(t, d.Fill(random(10), 0, d.Size()))
	img, _ := d.Snapshot()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	img.Fail = func(off int64) error {
		if off >= 24<<20 {
			cancel()
		}
		return ctx.Err()
	}
	_, err := v.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.ErrorIs(t, err, context.Canceled)
	ctx = t.Context()
	r := s.Open(t, s.place, "r-1")
	require.Empty(t, v.points(t, r))
	img.Fail = nil
	point, err := r.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.NoError(t, err)
	assert.Less(t, point.Stats.New, int64(30<<20), "what was stored is not stored again")
	Equal(t, r, v.id(1), img)
}

func testVerify(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	img, _ := sample(t, 11).Snapshot()
	p, err := v.Write(ctx, v.backup(1, img, 0, nil), nil)
	require.NoError(t, err)
	for _, how := range []repository.Verify{{Mode: repository.Quick}, {Mode: repository.Sampled, Share: 0.5}, {Mode: repository.Full, Streams: 3}} {
		var last repository.Progress
		got, err := v.Verify(ctx, p.ID, how, func(p repository.Progress) { last = p })
		require.NoError(t, err)
		assert.Empty(t, got.Damaged, got.Why)
		assert.Zero(t, got.Lost)
		assert.EqualValues(t, 81, got.Blocks)
		assert.Equal(t, img.Size(), last.Done)
		if how.Mode == repository.Full {
			assert.GreaterOrEqual(t, got.Bytes, p.Stats.Data)
		}
	}
	_, err = v.Verify(ctx, v.id(9), repository.Verify{Mode: repository.Full}, nil)
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	_, err = v.Verify(ctx, p.ID, repository.Verify{Mode: "somehow"}, nil)
	assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
}

func testCopy(t *testing.T, s Storage) {
	ctx := t.Context()
	src := s.volume()
	dst, _ := s.Create(t, "r-2")
	d := sample(t, 12)
	first, _ := d.Snapshot()
	one, err := src.Write(ctx, src.backup(1, first, 0, nil), nil)
	require.NoError(t, err)
	require.NoError(t, d.Fill(random(13), 30<<20, 100))
	second, changed := d.Snapshot()
	_, err = src.Write(ctx, src.backup(2, second, 1, changed), nil)
	require.NoError(t, err)

	got, err := src.Copy(ctx, src.id(1), dst, ID(11), "", 0, nil)
	require.NoError(t, err)
	assert.Equal(t, src.id(1), got.CopyOf)
	assert.Equal(t, one.Created, got.Created)
	assert.Equal(t, one.Source, got.Source)
	got, err = src.Copy(ctx, src.id(2), dst, ID(12), ID(11), 0, nil)
	require.NoError(t, err)
	assert.EqualValues(t, 1<<20, got.Stats.Read, "only the block that differs is read")
	Equal(t, dst, ID(11), first)
	Equal(t, dst, ID(12), second)
	_, err = src.Copy(ctx, src.id(3), dst, ID(13), "", 0, nil)
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
}

func testStatus(t *testing.T, s Storage) {
	ctx := t.Context()
	r, p := s.Create(t, "r-1")
	img, _ := sample(t, 14).Snapshot()
	for i := range 2 {
		_, err := r.Write(ctx, Backup(i, img, "", nil), nil)
		require.NoError(t, err)
	}
	st, err := r.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, 2, st.Points)
	assert.EqualValues(t, 2*(6<<20+512), st.Logical)
	assert.InDelta(t, 7<<20, st.Unique, 64<<10, "data once, and a block of zeros")
	assert.Less(t, st.Stored, st.Unique)
	assert.Positive(t, st.Stored)
	assert.EqualValues(t, s.Blobs(t, p), st.Blobs)
	assert.Contains(t, st.Format, "BLAKE3")
}

func testMaintain(t *testing.T, s Storage) {
	ctx := t.Context()
	v := s.volume()
	img, _ := sample(t, 15).Snapshot()
	for n := range 3 {
		_, err := v.Write(ctx, v.backup(n+1, img, n, nil), nil)
		require.NoError(t, err)
	}
	require.NoError(t, v.Delete(ctx, v.id(1)))
	for _, full := range []bool{false, true, true} {
		m, err := v.Maintain(ctx, full)
		require.NoError(t, err)
		assert.True(t, m.Ran, m.Note)
	}
	Equal(t, v, v.id(2), img)
	Equal(t, s.Open(t, s.place, "r-1"), v.id(3), img)
	got, err := v.Verify(ctx, v.id(2), repository.Verify{Mode: repository.Full}, nil)
	require.NoError(t, err)
	assert.Empty(t, got.Damaged, got.Why)
}

func testTenants(t *testing.T, s Storage) {
	ctx := t.Context()
	img, _ := sample(t, 16).Snapshot()
	for i, id := range []volspec.RepositoryID{"r-1", "r-2"} {
		r, p := s.Create(t, id)
		point, err := r.Write(ctx, Backup(i, img, "", nil), nil)
		require.NoError(t, err)
		assert.EqualValues(t, 7<<20+512, point.Stats.New, "nothing of the other's is used")
		_, err = s.Opener.Open(ctx, p, "the other's key", id)
		assert.Equal(t, errkind.WrongKey, errkind.Of(err), "%v", err)
	}
}
