// Package vmfile keeps virtual disks as files of a host directory, the way a
// datastore does: a descriptor "x.vmdk" and beside it a flat extent
// "x-flat.vmdk" of the disk's full size. Holes cost nothing.
package vmfile

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sector is the unit of a disk's size.
const Sector = 512

// Info is what a descriptor says.
type Info struct {
	Size int64  // bytes
	UUID string // as the API writes it: 6000C29x-xxxx-xxxx-xxxx-xxxxxxxxxxxx
	Thin bool
	// Parent is the descriptor this disk is a child of, "" for a base. Only the
	// name is kept: every flat has the whole content.
	Parent string
}

// ErrFormat is a file that is no descriptor.
var ErrFormat = errors.New("not a disk descriptor")

// Flat is the path of the extent of a descriptor.
func Flat(descriptor string) string {
	return strings.TrimSuffix(descriptor, ".vmdk") + "-flat.vmdk"
}

// IsFlat tells an extent from a descriptor by its name.
func IsFlat(path string) bool { return strings.HasSuffix(path, "-flat.vmdk") }

// NewUUID makes an identity for a disk, with the prefix that vSphere gives.
func NewUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0], b[1], b[2], b[3] = 0x60, 0x00, 0xc2, 0x90|b[3]&0x0f
	return FormatUUID(b)
}

// FormatUUID writes an identity as backing.uuid shows it.
func FormatUUID(b [16]byte) string {
	h := strings.ToUpper(hex.EncodeToString(b[:4])) + hex.EncodeToString(b[4:])
	h = h[:7] + strings.ToLower(h[7:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseUUID reads an identity in the notation of the API or of a descriptor
// ("60 00 C2 9x xx xx xx xx-xx ...").
func ParseUUID(s string) ([16]byte, error) {
	var b [16]byte
	h := strings.NewReplacer("-", "", " ", "").Replace(s)
	raw, err := hex.DecodeString(h)
	if err != nil || len(raw) != len(b) {
		return b, fmt.Errorf("%q is no disk uuid", s)
	}
	return [16]byte(raw), nil
}

// Create makes a disk that reads as zeros. The directory must exist; a disk
// that exists is fs.ErrExist, with nothing changed.
func Create(path string, i Info) error {
	if i.Size <= 0 || i.Size%Sector != 0 {
		return fmt.Errorf("%d is no size of a disk", i.Size)
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	f, err := os.OpenFile(Flat(path), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(i.Size), f.Close())
	if err == nil {
		err = Write(path, i)
	}
	if err != nil {
		_ = os.Remove(Flat(path))
	}
	return err
}

// Write replaces a descriptor.
func Write(path string, i Info) error {
	u, err := ParseUUID(i.UUID)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprint(&b, "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\n")
	if i.Parent == "" {
		fmt.Fprint(&b, "parentCID=ffffffff\ncreateType=\"vmfs\"\n")
	} else {
		fmt.Fprintf(&b, "parentCID=fffffffe\ncreateType=\"vmfs\"\nparentFileNameHint=%q\n", i.Parent)
	}
	fmt.Fprintf(&b, "\n# Extent description\nRW %d VMFS %q\n", i.Size/Sector, filepath.Base(Flat(path)))
	fmt.Fprint(&b, "\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\n")
	if i.Thin {
		fmt.Fprint(&b, "ddb.thinProvisioned = \"1\"\n")
	}
	fmt.Fprintf(&b, "ddb.uuid = \"% X-% X\"\nddb.virtualHWVersion = \"21\"\n", u[:8], u[8:])
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Read reads a descriptor. The size of a descriptor whose extent has another
// one is the descriptor's.
func Read(path string) (Info, error) {
	if IsFlat(path) {
		return Info{}, ErrFormat
	}
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	var i Info
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<10)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if rest, ok := strings.CutPrefix(line, "RW "); ok {
			n, _, _ := strings.Cut(rest, " ")
			sectors, err := strconv.ParseInt(n, 10, 64)
			if err != nil || sectors < 0 || sectors > 1<<53 {
				return Info{}, ErrFormat
			}
			i.Size += sectors * Sector
			continue
		}
		key, val, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		val = strings.Trim(strings.TrimSpace(val), `"`)
		switch strings.TrimSpace(key) {
		case "ddb.uuid":
			u, err := ParseUUID(val)
			if err != nil {
				return Info{}, ErrFormat
			}
			i.UUID = FormatUUID(u)
		case "ddb.thinProvisioned":
			i.Thin = val == "1"
		case "parentFileNameHint":
			i.Parent = val
		}
	}
	if s.Err() != nil || i.Size == 0 {
		return Info{}, ErrFormat
	}
	return i, nil
}

// Resize enlarges a disk. Smaller than it is: an error, nothing changed.
func Resize(path string, size int64) error {
	i, err := Read(path)
	if err != nil {
		return err
	}
	if size < i.Size || size%Sector != 0 {
		return fmt.Errorf("a disk of %d bytes cannot become %d", i.Size, size)
	}
	if err := os.Truncate(Flat(path), size); err != nil {
		return err
	}
	i.Size = size
	return Write(path, i)
}

// Remove deletes a disk. What is missing is no error.
func Remove(path string) error {
	var errs []error
	for _, p := range []string{path, Flat(path)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Rename moves a disk within one file system; the extent stays the same file,
// and whoever has it open keeps it.
func Rename(from, to string, parent string) error {
	i, err := Read(from)
	if err != nil {
		return err
	}
	if err := os.Rename(Flat(from), Flat(to)); err != nil {
		return err
	}
	i.Parent = parent
	if err := Write(to, i); err != nil {
		return err
	}
	return os.Remove(from)
}
