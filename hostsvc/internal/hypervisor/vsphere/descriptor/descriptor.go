// Package descriptor reads the small text file that describes a virtual disk:
// its size, its identity, and in which files its bytes are.
package descriptor

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Limit is more than a descriptor ever has; an extent that lies in its place
// is not read further.
const Limit = 64 << 10

// Sector is the unit in which a descriptor counts.
const Sector = 512

// Descriptor is what one says.
type Descriptor struct {
	Size    int64  // bytes
	UUID    string // 32 hexadecimal digits, "" when it has none yet
	Thin    bool
	Parent  bool // it is a child: what it lacks is in its parent
	Extents []Extent
}

// Extent is a file with a part of the bytes.
type Extent struct {
	Size int64 // bytes of the disk that it holds
	Kind string
	File string // beside the descriptor
}

// Flat reports whether the bytes of the disk lie in its files one after the
// other, with nothing left to a parent, and which files these are.
func (d Descriptor) Flat() ([]Extent, bool) {
	for _, e := range d.Extents {
		if e.Kind != "VMFS" && e.Kind != "FLAT" || e.File == "" || strings.ContainsAny(e.File, "/\\") {
			return nil, false
		}
	}
	return d.Extents, true
}

// Parse reads a descriptor. What is none is corrupt.
func Parse(data []byte) (Descriptor, error) {
	var d Descriptor
	if len(data) > Limit {
		data = data[:Limit]
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("# Disk DescriptorFile")) {
		return d, errkind.New(errkind.Corrupt, "it is not the descriptor of a disk")
	}
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, Limit)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if e, ok, err := parseExtent(line); err != nil {
			return Descriptor{}, err
		} else if ok {
			d.Size += e.Size
			if d.Size < 0 {
				return Descriptor{}, errkind.New(errkind.Corrupt, "the descriptor of the disk names an impossible size")
			}
			d.Extents = append(d.Extents, e)
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.TrimSpace(key) {
		case "ddb.uuid":
			d.UUID = plainUUID(value)
		case "ddb.thinProvisioned":
			d.Thin = value == "1"
		case "parentCID":
			d.Parent = !strings.EqualFold(value, "ffffffff")
		}
	}
	if s.Err() != nil || d.Size == 0 {
		return Descriptor{}, errkind.New(errkind.Corrupt, "the descriptor of the disk names no size")
	}
	return d, nil
}

// parseExtent reads lines such as
//
//	RW 209715200 VMFS "x-flat.vmdk"
func parseExtent(line string) (e Extent, ok bool, err error) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "RW" && f[0] != "RDONLY" && f[0] != "NOACCESS" {
		return e, false, nil
	}
	sectors, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || sectors <= 0 || sectors > 1<<53 {
		return e, false, errkind.New(errkind.Corrupt, "the descriptor of the disk names an impossible size")
	}
	e = Extent{Size: sectors * Sector, Kind: strings.ToUpper(f[2])}
	if _, rest, ok := strings.Cut(line, `"`); ok {
		e.File, rest, _ = strings.Cut(rest, `"`)
		if off := strings.TrimSpace(rest); off != "" && off != "0" { // a part of a larger file
			e.Kind = "PART"
		}
	}
	return e, true, nil
}

// plainUUID writes "60 00 C2 91 … -aa bb …" without blanks and dashes.
func plainUUID(s string) string {
	s = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(s))
	if _, err := hex.DecodeString(s); err != nil || len(s) != 32 {
		return ""
	}
	return s
}
