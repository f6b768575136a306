package volspec

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Size is a number of bytes.
type Size int64

// Binary units. Every spelling of a unit means the binary one: 10gb, 10g and
// 10GiB are all 10·2^30 bytes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
	PiB Size = 1 << 50
)

// MaxSize bounds every size; above it sums of sizes could overflow.
const MaxSize = 64 * PiB

var units = map[string]Size{
	"": 1, "b": 1,
	"k": KiB, "kb": KiB, "kib": KiB,
	"m": MiB, "mb": MiB, "mib": MiB,
	"g": GiB, "gb": GiB, "gib": GiB,
	"t": TiB, "tb": TiB, "tib": TiB,
	"p": PiB, "pb": PiB, "pib": PiB,
}

// ParseSize reads a positive whole number with a unit: 100mb, 10GiB, 1T. No
// sign, no fraction, no blanks. A number without a unit is refused, because
// users mean different units by it; bytes are written 1048576b.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(s[len(digits):])
	factor, known := units[unit]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) && known:
		return 0, badSize(s, fmt.Sprintf("the largest is %s", MaxSize))
	case err != nil || !known || strings.HasPrefix(digits, "+"):
		return 0, badSize(s, "write a whole number with a unit, such as 100mb, 10gb or 1tb")
	case n == 0:
		return 0, badSize(s, "it must be greater than zero")
	case unit == "":
		return 0, badSize(s, fmt.Sprintf("add a unit: %dmb, %dgb or %db", n, n, n))
	case n > uint64(MaxSize)/uint64(factor):
		return 0, badSize(s, fmt.Sprintf("the largest is %s", MaxSize))
	}
	return Size(n) * factor, nil
}

func badSize(s, remedy string) error {
	return errkind.New(errkind.Invalid, "size %q is not valid: %s", clip(s), remedy)
}

// String is exact and can be read back after removing its blank: 1536 MiB,
// 10 GiB, 1000 B.
func (s Size) String() string {
	v, unit := s.exact()
	return strconv.FormatInt(v, 10) + " " + unit
}

// Option is s as an option value: 1536mb, 10gb, 1000b.
func (s Size) Option() string {
	v, unit := s.exact()
	return strconv.FormatInt(v, 10) + strings.ToLower(strings.Replace(unit, "iB", "b", 1))
}

func (s Size) exact() (int64, string) {
	for _, u := range []struct {
		size Size
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s != 0 && s%u.size == 0 {
			return int64(s / u.size), u.name
		}
	}
	return int64(s), "B"
}

// Rounded is s with at most three digits and a binary unit, as sentences and
// pages say it: 1.5 GiB, 286 MiB, 0 B.
func (s Size) Rounded() string {
	v, unit := float64(s), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "B" || v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + unit
}

// Table is s with two decimals, as the tables of the vmgroup commands print
// limits: 1.00GB, 500.00MB. Zero is no limit and prints as Unset.
func (s Size) Table() string {
	if s == 0 {
		return "Unset"
	}
	v, unit := s.scaled()
	return strconv.FormatFloat(v, 'f', 2, 64) + unit
}

// Short is s rounded down to a whole number of its largest unit, as the
// volume tables print capacities: 1GB, 39MB.
func (s Size) Short() string {
	v, unit := s.scaled()
	return strconv.FormatFloat(math.Floor(v), 'f', 0, 64) + unit
}

func (s Size) scaled() (float64, string) {
	v, unit := float64(s), "B"
	for _, u := range []string{"KB", "MB", "GB", "TB"} {
		// 1000MB stays 1000.00MB: the unit changes at 1024.
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	return v, unit
}

// MarshalText writes the option form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.Option()), nil }

// UnmarshalText reads what ParseSize reads, and "0b" as zero.
func (s *Size) UnmarshalText(b []byte) error {
	if string(b) == "0b" {
		*s = 0
		return nil
	}
	v, err := ParseSize(string(b))
	if err == nil {
		*s = v
	}
	return err
}
