package imagefs

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

const mib = 1 << 20

// vmDisk makes the disk of a VM with these partitions, one after the other from
// the first MiB on. What is "" is an empty one of a MiB. table writes the
// partition table.
func vmDisk(t *testing.T, table func(f *os.File, at []image.Extent), files ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	at, next := make([]image.Extent, len(files)), int64(mib)
	for i, file := range files {
		at[i] = image.Extent{Offset: next, Length: mib}
		if file != "" {
			st, err := os.Stat(file)
			require.NoError(t, err)
			at[i].Length = (st.Size() + mib - 1) / mib * mib
		}
		next = at[i].End() + mib // room for the table of a logical one
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(next+mib))
	for i, file := range files {
		if file != "" {
			run(t, "dd", "if="+file, "of="+path, "bs=1M", "conv=sparse,notrunc", fmt.Sprint("seek=", at[i].Offset/mib))
		}
	}
	table(f, at)
	return path
}

func put(f *os.File, b []byte, at int64) {
	if _, err := f.WriteAt(b, at); err != nil {
		panic(err)
	}
}

// mbr is one sector with a partition table: kind, first sector, sectors.
func mbr(entries ...[3]uint32) []byte {
	b := make([]byte, 512)
	for i, e := range entries {
		at := b[446+16*i:]
		at[4] = byte(e[0])
		binary.LittleEndian.PutUint32(at[8:], e[1])
		binary.LittleEndian.PutUint32(at[12:], e[2])
	}
	b[510], b[511] = 0x55, 0xAA
	return b
}

func sectors(n int64) uint32 { return uint32(n / 512) }

// elder is a table of the elder kind with the first partition as such and the
// others in an extended one.
func elder(f *os.File, at []image.Extent) {
	end := at[len(at)-1].End()
	if len(at) == 1 {
		put(f, mbr([3]uint32{0x83, sectors(at[0].Offset), sectors(at[0].Length)}), 0)
		return
	}
	base := at[1].Offset - mib/2
	put(f, mbr([3]uint32{0x83, sectors(at[0].Offset), sectors(at[0].Length)}, [3]uint32{0x0F, sectors(base), sectors(end - base)}), 0)
	for i, e := range at[1:] {
		entries := [][3]uint32{{0x83, sectors(mib / 2), sectors(e.Length)}}
		if i+2 < len(at) {
			next := at[i+2]
			entries = append(entries, [3]uint32{0x05, sectors(next.Offset - mib/2 - base), sectors(next.Length + mib/2)})
		}
		put(f, mbr(entries...), e.Offset-mib/2)
	}
}

// gpt is a GPT with its copy at the end.
func gpt(f *os.File, at []image.Extent) {
	st, err := f.Stat()
	if err != nil {
		panic(err)
	}
	last := st.Size()/512 - 1
	table := make([]byte, 128*128)
	for i, e := range at {
		p := table[i*128:]
		copy(p, "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4") // Linux
		p[16] = byte(i + 1)
		binary.LittleEndian.PutUint64(p[32:], uint64(e.Offset/512))
		binary.LittleEndian.PutUint64(p[40:], uint64(e.End()/512-1))
	}
	head := func(here, other, entries int64) {
		h := make([]byte, 512)
		copy(h, "EFI PART\x00\x00\x01\x00")
		binary.LittleEndian.PutUint32(h[12:], 92)
		for i, v := range []int64{here, other, 34, last - 33} {
			binary.LittleEndian.PutUint64(h[24+8*i:], uint64(v))
		}
		h[56] = 7
		binary.LittleEndian.PutUint64(h[72:], uint64(entries))
		binary.LittleEndian.PutUint32(h[80:], 128)
		binary.LittleEndian.PutUint32(h[84:], 128)
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(table))
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		put(f, table, entries*512)
		put(f, h, here*512)
	}
	put(f, mbr([3]uint32{0xEE, 1, uint32(last)}), 0)
	head(1, last, 2)
	head(last, 1, last-32)
}

// holding is a file with something at a place of its first MiB.
func holding(t *testing.T, at int, what string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "part")
	b := make([]byte, mib)
	copy(b[at:], what)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// The partitions of a disk are those that another program finds: not every
// kernel reads tables.
func TestTablesReadAsOthersReadThem(t *testing.T) {
	five := []string{"", "", "", "", ""}
	for name, path := range map[string]string{"gpt": vmDisk(t, gpt, five...), "elder": vmDisk(t, elder, five...), "primary": vmDisk(t, elder, "")} {
		img := openImage(t, path)
		parts, err := readTable(img, img.Size())
		require.NoError(t, err)
		var got []string
		for _, p := range parts {
			assert.Empty(t, p.holds, name)
			got = append(got, fmt.Sprintf("%s: %d %d", p.name, p.Offset/512, p.Length/512))
		}
		var want []string
		for line := range strings.Lines(run(t, "partx", "--show", "--noheadings", "--output", "NR,START,SECTORS,TYPE", path)) {
			f := strings.Fields(line)
			if f[3] != "0xf" { // the extended one is no partition here
				want = append(want, fmt.Sprintf("partition %s: %s %s", f[0], f[1], f[2]))
			}
		}
		assert.Equal(t, want, got, name)
	}
	img := openImage(t, holding(t, 0, ""))
	parts, err := readTable(img, img.Size())
	require.NoError(t, err)
	assert.Empty(t, parts)
}

// A damaged table is read from its copy; without one the disk is no good.
func TestDamagedTables(t *testing.T) {
	path := vmDisk(t, gpt, "", "")
	img := openImage(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	whole, err := readTable(img, img.Size())
	require.NoError(t, err)
	require.Len(t, whole, 2)
	put(f, []byte("x"), 2*512+200) // an entry
	parts, err := readTable(img, img.Size())
	require.NoError(t, err)
	assert.Equal(t, whole, parts)
	put(f, []byte("x"), img.Size()-512+40) // the other header
	_, err = readTable(img, img.Size())
	requireKind(t, errkind.Corrupt, err)

	end := vmDisk(t, func(f *os.File, _ []image.Extent) {
		put(f, mbr([3]uint32{0x83, 2048, 1 << 30}, [3]uint32{0x0F, 4096, 2048}), 0)
		put(f, mbr([3]uint32{0x83, 1, 64}, [3]uint32{0x05, 0, 2048}), 4096*512) // a chain that ends in itself
	}, "", "")
	img = openImage(t, end)
	parts, err = readTable(img, img.Size())
	require.NoError(t, err)
	require.Len(t, parts, 2)
	assert.Contains(t, parts[0].holds, "beyond the end")
	assert.Equal(t, "partition 5", parts[1].name)
}

// partResults are the steps of one partition.
func partResults(r DrillReport, name string) map[string]string {
	r.Steps = slices.DeleteFunc(slices.Clone(r.Steps), func(s DrillStep) bool { return s.Part != name })
	return results(r)
}

var (
	partGreen   = map[string]string{StepJournal: StepOK, StepCheck: StepOK, StepMount: StepOK, StepRead: StepOK}
	partSkipped = map[string]string{StepJournal: StepSkipped, StepCheck: StepSkipped, StepMount: StepSkipped, StepRead: StepSkipped}
)

// Each filesystem on a disk is checked and read where it lies, also one that was
// not unmounted; what else there is is named.
func TestDrillOfADisk(t *testing.T) {
	var files []string
	for _, fstype := range fstypes {
		d := newDisk(t, fstype)
		d.write("a/file", pattern(1<<20, 1))
		run(t, "sync", "--file-system", d.at)
		d.write("b", pattern(1000, 2))
		files = append(files, d.crash())
	}
	files = append(files, holding(t, 4086, "SWAPSPACE2"), holding(t, 512, "LABELONE"), holding(t, 3, "NTFS    "), "", holding(t, 9, "what"))
	for name, table := range map[string]func(*os.File, []image.Extent){"gpt": gpt, "elder": elder} {
		t.Run(name, func(t *testing.T) {
			path := vmDisk(t, table, files...)
			before, dir := hashOf(t, path), filepath.Join(t.TempDir(), "drill")
			img := openImage(t, path)
			r, err := Drill(t.Context(), img, DrillOptions{Dir: dir, Name: "d", Disk: true})
			require.NoError(t, err, "%+v", r.Steps)
			requireNothing(t, dir)
			assert.Equal(t, before, hashOf(t, path))
			assert.Equal(t, r.Restored, r.Compared)
			assert.Empty(t, r.Filesystem)
			assert.True(t, r.Replayed)
			assert.EqualValues(t, 6, r.Files)
			require.Len(t, r.Parts, len(files))
			for i, want := range []string{"", "", "", "swap space", "LVM", "NTFS", "nothing", "nothing that is known here"} {
				p := r.Parts[i]
				assert.Equal(t, want, p.Holds, p.Name)
				if i < len(fstypes) {
					assert.Equal(t, DrillPart{Name: p.Name, Filesystem: fstypes[i], Files: 2}, p)
					assert.Equal(t, partGreen, partResults(r, p.Name))
				} else {
					assert.Equal(t, partSkipped, partResults(r, p.Name))
				}
			}
		})
	}
}

// A disk without a partition table is one thing, known or not.
func TestDrillOfADiskWithoutTable(t *testing.T) {
	d := newDisk(t, "ext4")
	d.write("file", pattern(1000, 1))
	for path, want := range map[string]DrillPart{
		d.clean():                     {Filesystem: "ext4", Files: 1},
		holding(t, 512, "LABELONE"):   {Holds: "LVM"},
		holding(t, 0, "LUKS\xba\xbe"): {Holds: "an encrypted volume (LUKS)"},
		holding(t, 0, ""):             {Holds: "nothing"},
	} {
		dir := filepath.Join(t.TempDir(), "drill")
		r, err := Drill(t.Context(), openImage(t, path), DrillOptions{Dir: dir, Disk: true})
		require.NoError(t, err, "%+v", r.Steps)
		assert.Equal(t, []DrillPart{want}, r.Parts)
		assert.Equal(t, want.Filesystem, r.Filesystem)
		requireNothing(t, dir)
	}
}

// The step and the partition that are no good are named, and the rest is
// skipped.
func TestDrillNamesThePartitionThatFailed(t *testing.T) {
	d := newDisk(t, "ext4")
	d.write("file", pattern(1<<20, 1))
	good := d.clean()
	bad := filepath.Join(t.TempDir(), "bad")
	run(t, "cp", "--sparse=always", good, bad)
	run(t, "debugfs", "-w", "-R", "set_inode_field /file links_count 7", bad)
	dir := filepath.Join(t.TempDir(), "drill")
	r, err := Drill(t.Context(), openImage(t, vmDisk(t, gpt, good, bad, good)), DrillOptions{Dir: dir, Disk: true})
	requireKind(t, errkind.Corrupt, err)
	assert.ErrorContains(t, err, `step "check" of partition 2`)
	assert.Equal(t, "check of partition 2", r.Failed())
	assert.Equal(t, partGreen, partResults(r, "partition 1"))
	assert.Equal(t, map[string]string{StepJournal: StepOK, StepCheck: StepFailed, StepMount: StepSkipped, StepRead: StepSkipped}, partResults(r, "partition 2"))
	assert.Equal(t, partSkipped, partResults(r, "partition 3"))
	requireNothing(t, dir)
}

// childDrill drills a disk again and again, and tells when the first time is
// over.
func childDrill(dir string, img *fileImage) error {
	for first := true; ; first = false {
		if _, err := Drill(context.Background(), img, DrillOptions{Dir: dir, Disk: true}); err != nil {
			return err
		}
		if first {
			fmt.Println("ready")
		}
	}
}

// A drill that is killed at whatever moment leaves nothing but its scratch
// file, which a sweep removes.
func TestKilledWhileDisksAreDrilled(t *testing.T) {
	var files []string
	for _, fstype := range []string{"ext4", "xfs"} {
		d := newDisk(t, fstype)
		d.write("file", pattern(100_000, 1))
		files = append(files, d.crash())
	}
	path := vmDisk(t, gpt, files...)
	for n := range 6 {
		dir := filepath.Join(t.TempDir(), "drill")
		cmd := startChild(t, path, dir, "IMAGEFS_TEST_DRILL=1")
		time.Sleep(time.Duration(n*80) * time.Millisecond) // another step each time
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.NoError(t, Sweep(t.Context(), dir))
		requireNothing(t, dir)
	}
}

// A partition table is written by a guest: whatever stands in it, reading it
// ends, and what it says fits the disk or is marked.
func FuzzTables(f *testing.F) {
	disk := func(table func(*os.File, []image.Extent)) []byte {
		file, err := os.CreateTemp(f.TempDir(), "")
		if err != nil {
			f.Fatal(err)
		}
		defer file.Close()
		if err := file.Truncate(64 << 10); err != nil {
			f.Fatal(err)
		}
		table(file, []image.Extent{{Offset: 32 << 10, Length: 4096}})
		b, err := os.ReadFile(file.Name())
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(disk(gpt))
	f.Add(disk(elder))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := strings.NewReader(string(b))
		parts, err := readTable(r, r.Size())
		if err != nil {
			requireKind(t, errkind.Corrupt, err)
		}
		for _, p := range parts {
			if p.holds == "" {
				assert.Positive(t, p.Length)
				assert.LessOrEqual(t, p.End(), r.Size())
				assert.GreaterOrEqual(t, p.Offset, int64(0))
			}
		}
	})
}
