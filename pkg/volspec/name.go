package volspec

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/visible"
)

// MaxNameLen bounds the volume part and the datastore part of a name, in
// characters.
const MaxNameLen = 100

// Special datastore names. They are valid in access rows; VMDatastore also as
// a vmgroup's default datastore.
const (
	VMDatastore   = "_VM_DS"  // the datastore on which the calling VM lives
	AllDatastores = "_ALL_DS" // every datastore without a better row
)

// Name is a volume's name as a user writes it: volume or volume@datastore.
// The zero Datastore means the short form.
type Name struct {
	Volume    string
	Datastore string
}

var snapshotDelta = regexp.MustCompile(`-[0-9]{6}$`)

// ParseName splits s at its last @ and validates both parts. The volume part
// has 1 to 100 characters, no slash, backslash or control character, is not
// "." or "..", and does not end in a dash and exactly six digits. Earlier @
// belong to the volume part.
func ParseName(s string) (Name, error) {
	n := Name{Volume: s}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		n = Name{Volume: s[:i], Datastore: s[i+1:]}
		if n.Datastore == "" {
			return Name{}, errkind.New(errkind.Invalid, "Volume name %q ends in @ without a datastore: write volume or volume@datastore", clip(s))
		}
	}
	if err := checkPart("Volume", n.Volume); err != nil {
		return Name{}, err
	}
	if snapshotDelta.MatchString(n.Volume) {
		return Name{}, errkind.New(errkind.Invalid, "Volume names ending with '-NNNNNN' (where N is a digit) are not supported")
	}
	if n.Datastore != "" {
		if err := checkPart("Datastore", n.Datastore); err != nil {
			return Name{}, err
		}
	}
	return n, nil
}

// ParseNewName is ParseName for what is about to get its name. It also refuses
// what ParseName lets through for the sake of older names: marks that cannot be
// seen, turn the direction of a text around or break its line.
func ParseNewName(s string) (Name, error) {
	n, err := ParseName(s)
	if err == nil {
		err = n.CheckNew()
	}
	if err != nil {
		return Name{}, err
	}
	return n, nil
}

// CheckNew refuses a name that ParseName accepts and ParseNewName does not.
func (n Name) CheckNew() error {
	if strings.ContainsFunc(n.Volume, visible.Hidden) {
		return errkind.New(errkind.Invalid, "the name %q contains characters that cannot be seen: write it with letters, digits and signs", n.Volume)
	}
	return nil
}

func checkPart(what, s string) error {
	switch {
	case s == "":
		return errkind.New(errkind.Invalid, "%s name is empty: give it 1 to %d characters", what, MaxNameLen)
	case !utf8.ValidString(s):
		return errkind.New(errkind.Invalid, "%s name is not valid UTF-8", what)
	case utf8.RuneCountInString(s) > MaxNameLen:
		return errkind.New(errkind.Invalid, "%s name is too long (max len is %d)", what, MaxNameLen)
	case s == "." || s == "..":
		return errkind.New(errkind.Invalid, "%s name %q is reserved: choose another", what, s)
	}
	for _, r := range s {
		if r == '/' || r == '\\' || unicode.IsControl(r) || r == utf8.RuneError {
			shown := string(r)
			if !unicode.IsPrint(r) {
				shown = strconv.QuoteRune(r)
			}
			return errkind.New(errkind.Invalid, "%s name contains illegal characters: %s", what, shown)
		}
	}
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > MaxNameLen {
		return string(r[:MaxNameLen]) + "…"
	}
	return s
}

// plain is clip for sentences that quote a word with %s, as the old ones do:
// what a terminal would obey is replaced.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, clip(s))
}

// String is the name as the user would write it.
func (n Name) String() string {
	if n.Datastore == "" {
		return n.Volume
	}
	return n.Volume + "@" + n.Datastore
}

// Full is n on datastore ds.
func (n Name) Full(ds string) Name { return Name{Volume: n.Volume, Datastore: ds} }

var (
	groupName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)
	plainName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_. ()+-]*$`)
)

// CheckVMGroupName validates a vmgroup's name. The text is the old one.
func CheckVMGroupName(s string) error {
	if !groupName.MatchString(s) || utf8.RuneCountInString(s) > MaxNameLen {
		return errkind.New(errkind.Invalid, "Vmgroup name %s is invalid, only [a-zA-Z0-9_][a-zA-Z0-9_.-]* is allowed", plain(s))
	}
	return nil
}

// CheckVMName validates the name of a VM in a configuration file.
func CheckVMName(s string) error { return checkPlain("VM", s) }

// CheckDatastoreName validates the name of a datastore in a configuration
// file. Special names are refused.
func CheckDatastoreName(s string) error {
	if s == VMDatastore || s == AllDatastores || strings.EqualFold(s, PointsDatastore) {
		return errkind.New(errkind.Invalid, "Datastore name %s is reserved: choose another", s)
	}
	return checkPlain("Datastore", s)
}

func checkPlain(what, s string) error {
	if err := checkPart(what, s); err != nil {
		return err
	}
	if !plainName.MatchString(s) {
		return errkind.New(errkind.Invalid, "%s name %q is invalid: only letters, digits, blanks and _ . ( ) + - are allowed, and the first is a letter, a digit or _", what, clip(s))
	}
	return nil
}
