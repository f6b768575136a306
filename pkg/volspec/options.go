package volspec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Filesystems, disk formats, access and attach modes, in the spelling users
// know from docker volume create -o.
const (
	Ext4  = "ext4"
	XFS   = "xfs"
	Btrfs = "btrfs"

	Thin             = "thin"
	ZeroedThick      = "zeroedthick"
	EagerZeroedThick = "eagerzeroedthick"

	ReadWrite = "read-write"
	ReadOnly  = "read-only"

	IndependentPersistent = "independent_persistent"
	Persistent            = "persistent"
)

// DefaultSize is the size of a volume created without one, unless its
// filesystem needs more: see MinSize.
const DefaultSize = 100 * MiB

// MinSize is the smallest volume that the filesystem's mkfs accepts with the
// features we use: xfsprogs 6 refuses less than 300 MiB, btrfs-progs 6 less
// than 109 MiB (rounded up here), ext4 with a journal is useful from 8 MiB.
func MinSize(fstype string) Size {
	switch fstype {
	case XFS:
		return 300 * MiB
	case Btrfs:
		return 128 * MiB
	}
	return 8 * MiB
}

// Spec is what a user asks a volume to be. Fields left out by the user have
// their zero value after Parse; Defaulted fills them in.
type Spec struct {
	Size          Size     `json:"size,omitempty"`
	FSType        string   `json:"fstype,omitempty"`
	DiskFormat    string   `json:"diskformat,omitempty"`
	Access        string   `json:"access,omitempty"`
	AttachAs      string   `json:"attach-as,omitempty"`
	CloneFrom     string   `json:"clone-from,omitempty"`    // a volume's name
	FromSnapshot  string   `json:"from-snapshot,omitempty"` // with CloneFrom: one of its snapshots
	RestoreFrom   string   `json:"restore-from,omitempty"`  // a recovery point, see PointRef
	ViewOf        string   `json:"view-of,omitempty"`       // a recovery point that is shown, not copied
	StoragePolicy string   `json:"vsan-policy-name,omitempty"`
	Datastore     string   `json:"datastore,omitempty"`
	MkfsOpts      []string `json:"mkfsopts,omitempty"`
	MountOpts     []string `json:"mountopts,omitempty"`
	UID           *int     `json:"uid,omitempty"`
	GID           *int     `json:"gid,omitempty"`
	Mode          *uint32  `json:"mode,omitempty"` // permission bits of the volume's root
	Protect       bool     `json:"protect,omitempty"`
	BackupPolicy  string   `json:"backup-policy,omitempty"` // name of a policy of the vmgroup
}

type option struct {
	name, def string
	parse     func(*Spec, string) error
	format    func(Spec) string // "" when unset
}

func oneOf(text string, values ...string) func(v string) (string, error) {
	return func(v string) (string, error) {
		if slices.Contains(values, v) {
			return v, nil
		}
		return "", errkind.New(errkind.Invalid, text+" Valid options are: %s.", plain(v), quoteList(values))
	}
}

func quoteList(v []string) string { return "['" + strings.Join(v, "', '") + "']" }

func word(field func(*Spec) *string, check func(string) (string, error)) (func(*Spec, string) error, func(Spec) string) {
	parse := func(s *Spec, v string) error {
		w, err := check(v)
		if err == nil {
			*field(s) = w
		}
		return err
	}
	return parse, func(s Spec) string { return *field(&s) }
}

func volumeWord(v string) (string, error) {
	n, err := ParseName(v)
	return n.String(), err
}

// PointRef checks the form of a reference to a recovery point: a point's id,
// latest, or volume@time, volume@latest. What it means is decided where the
// points are known.
func PointRef(v string) error {
	if i := strings.LastIndexByte(v, '@'); i >= 0 {
		if err := checkPart("Volume", v[:i]); err != nil {
			return err
		}
		v = v[i+1:]
	}
	return checkPart("Recovery point", v)
}

func pointWord(v string) (string, error) { return v, PointRef(v) }

func plainWord(what string) func(string) (string, error) {
	return func(v string) (string, error) { return v, checkPart(what, v) }
}

// options is the one table of docker volume create -o; order is that of the
// error message that lists them.
var options = buildOptions()

func buildOptions() []option {
	mk := func(name, def string, f func(*Spec) *string, check func(string) (string, error)) option {
		p, s := word(f, check)
		return option{name, def, p, s}
	}
	return []option{
		{"size", "100mb",
			func(s *Spec, v string) (err error) { s.Size, err = ParseSize(v); return err },
			func(s Spec) string {
				if s.Size == 0 {
					return ""
				}
				return s.Size.Option()
			}},
		mk("vsan-policy-name", "[VSAN default]", func(s *Spec) *string { return &s.StoragePolicy }, plainWord("Storage policy")),
		mk("diskformat", Thin, func(s *Spec) *string { return &s.DiskFormat },
			oneOf("Disk Allocation Format '%s' is not supported.", Thin, ZeroedThick, EagerZeroedThick)),
		mk("attach-as", IndependentPersistent, func(s *Spec) *string { return &s.AttachAs },
			oneOf("Attach type '%s' is not supported.", IndependentPersistent, Persistent)),
		mk("access", ReadWrite, func(s *Spec) *string { return &s.Access },
			oneOf("Access type '%s' is not supported.", ReadWrite, ReadOnly)),
		mk("fstype", Ext4, func(s *Spec) *string { return &s.FSType },
			oneOf("Not found mkfs for %s.", Ext4, XFS, Btrfs)),
		mk("clone-from", "None", func(s *Spec) *string { return &s.CloneFrom }, volumeWord),
		mk("from-snapshot", "None", func(s *Spec) *string { return &s.FromSnapshot }, plainWord("Snapshot")),
		mk("restore-from", "None", func(s *Spec) *string { return &s.RestoreFrom }, pointWord),
		mk("view-of", "None", func(s *Spec) *string { return &s.ViewOf }, pointWord),
		mk("datastore", "default of the vmgroup", func(s *Spec) *string { return &s.Datastore }, plainWord("Datastore")),
		{"mkfsopts", "none", func(s *Spec, v string) error { s.MkfsOpts = fields(v); return nil },
			func(s Spec) string { return strings.Join(s.MkfsOpts, " ") }},
		{"mountopts", "nodev,nosuid", func(s *Spec, v string) (err error) { s.MountOpts, err = ParseMountOpts(v); return err },
			func(s Spec) string { return strings.Join(s.MountOpts, ",") }},
		{"uid", "0", func(s *Spec, v string) (err error) { s.UID, err = parseOwner("uid", v); return err },
			func(s Spec) string { return formatInt(s.UID) }},
		{"gid", "0", func(s *Spec, v string) (err error) { s.GID, err = parseOwner("gid", v); return err },
			func(s Spec) string { return formatInt(s.GID) }},
		{"mode", "0755", func(s *Spec, v string) (err error) { s.Mode, err = parseMode(v); return err },
			func(s Spec) string {
				if s.Mode == nil {
					return ""
				}
				return fmt.Sprintf("%#o", *s.Mode)
			}},
		{"protect", "false", func(s *Spec, v string) (err error) { s.Protect, err = parseBool("protect", v); return err },
			func(s Spec) string {
				if !s.Protect {
					return ""
				}
				return "true"
			}},
		mk("backup-policy", "None", func(s *Spec) *string { return &s.BackupPolicy }, plainWord("Backup policy")),
	}
}

func find(name string) (option, bool) {
	i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
	if i < 0 {
		return option{}, false
	}
	return options[i], true
}

// ParseOptions reads the options of docker volume create. Names and values
// are case-sensitive. All problems are reported at once; unknown options are
// errors that name the valid ones. Relations between options are checked too.
func ParseOptions(opts map[string]string) (Spec, error) {
	var s Spec
	var unknown, problems []string
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		o, ok := find(name)
		if !ok {
			unknown = append(unknown, plain(name))
			continue
		}
		if err := o.parse(&s, opts[name]); err != nil {
			problems = append(problems, errkind.Text(err))
		}
	}
	if len(unknown) > 0 {
		var valid []string
		for _, o := range options {
			valid = append(valid, fmt.Sprintf("('%s', '%s')", o.name, o.def))
		}
		problems = append(problems, fmt.Sprintf("Invalid options: %s. Valid options and defaults: [%s]", quoteList(unknown), strings.Join(valid, ", ")))
	}
	if len(problems) == 0 {
		problems = s.conflicts()
	}
	if len(problems) > 0 {
		return Spec{}, errkind.New(errkind.Invalid, "%s", strings.Join(problems, "; "))
	}
	return s, nil
}

func (s Spec) conflicts() (p []string) {
	if p = s.sources(); len(p) > 0 {
		return p
	}
	switch {
	case s.CloneFrom != "":
		if s.Size != 0 {
			p = append(p, "Cannot define the size for a clone")
		}
		return append(p, s.ownFilesystem("a clone", "the source")...)
	case s.RestoreFrom != "":
		return s.ownFilesystem("a restored volume", "the recovery point")
	case s.ViewOf != "":
		return s.viewConflicts()
	}
	if s.FromSnapshot != "" {
		p = append(p, "from-snapshot needs clone-from: name the volume that the snapshot is of")
	}
	d := s.Defaulted()
	if d.Size < MinSize(d.FSType) {
		p = append(p, fmt.Sprintf("size %s is too small for %s: it needs at least %s", d.Size, d.FSType, MinSize(d.FSType)))
	}
	if _, err := MkfsArgs(d.FSType, s.MkfsOpts); err != nil {
		p = append(p, errkind.Text(err))
	}
	return p
}

// sources refuses two answers to the question where the content comes from.
func (s Spec) sources() []string {
	var given []string
	for _, o := range []struct{ name, value string }{
		{"clone-from", s.CloneFrom}, {"restore-from", s.RestoreFrom}, {"view-of", s.ViewOf},
	} {
		if o.value != "" {
			given = append(given, o.name)
		}
	}
	if len(given) > 0 && given[0] != "clone-from" && s.FromSnapshot != "" {
		given = append(given, "from-snapshot")
	}
	if len(given) < 2 {
		return nil
	}
	return []string{strings.Join(given, " and ") + " exclude each other: each says where the volume's content comes from, give one"}
}

// ownFilesystem refuses to say what filesystem a copy has.
func (s Spec) ownFilesystem(what, source string) (p []string) {
	if s.FSType != "" {
		p = append(p, "Cannot define the filesystem type for "+what)
	}
	if len(s.MkfsOpts) > 0 {
		p = append(p, "Cannot define mkfsopts for "+what+": its filesystem is that of "+source)
	}
	return p
}

func (s Spec) viewConflicts() (p []string) {
	const what = "a volume that shows a recovery point"
	if s.Size != 0 {
		p = append(p, "Cannot define the size for "+what+": use restore-from for a volume that can grow")
	}
	p = append(p, s.ownFilesystem(what, "the recovery point")...)
	if s.DiskFormat != "" && s.DiskFormat != Thin {
		p = append(p, "Cannot define the diskformat for "+what+": it takes no room")
	}
	if s.Access == ReadWrite {
		p = append(p, "Cannot define access=read-write for "+what+": use restore-from for a volume that can be written")
	}
	if s.BackupPolicy != "" {
		p = append(p, "Cannot define a backup-policy for "+what+": it is a backup already")
	}
	return p
}

// Copied tells that size and filesystem follow from what the volume is made
// of, not from its options.
func (s Spec) Copied() bool { return s.CloneFrom != "" || s.RestoreFrom != "" || s.ViewOf != "" }

// Defaulted is s with every field set that has a default. A copy keeps size
// and filesystem unset: they are those of its source. A view is read-only.
func (s Spec) Defaulted() Spec {
	if !s.Copied() {
		s.FSType = or(s.FSType, Ext4)
		if s.Size == 0 {
			s.Size = max(DefaultSize, MinSize(s.FSType))
		}
	}
	if s.ViewOf != "" {
		s.Access = ReadOnly
	}
	s.DiskFormat = or(s.DiskFormat, Thin)
	s.Access = or(s.Access, ReadWrite)
	s.AttachAs = or(s.AttachAs, IndependentPersistent)
	return s
}

// Options is the inverse of ParseOptions: only what is set, in canonical
// spelling.
func (s Spec) Options() map[string]string {
	m := map[string]string{}
	for _, o := range options {
		if v := o.format(s); v != "" {
			m[o.name] = v
		}
	}
	return m
}

// Conflicts names the options that s asks for and have does not satisfy, as
// "size=1gb (is 100mb)". It is empty when a repeated create with s asks for
// nothing that differs from the existing volume.
func (s Spec) Conflicts(have Spec) []string {
	var diff []string
	haveOpts := have.Defaulted().Options()
	for k, v := range s.Options() {
		if k == "datastore" || haveOpts[k] == v {
			continue
		}
		diff = append(diff, fmt.Sprintf("%s=%s (is %s)", k, v, or(haveOpts[k], "not set")))
	}
	slices.Sort(diff)
	return diff
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// fields splits at blanks; nothing but blanks is nil, as if never given.
func fields(v string) []string {
	words := strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 {
		return nil
	}
	return words
}

func formatInt(p *int) string {
	if p == nil {
		return ""
	}
	return strconv.Itoa(*p)
}

func parseOwner(what, v string) (*int, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "%s %q is not valid: write a number from 0 to 2147483647", what, clip(v))
	}
	i := int(n)
	return &i, nil
}

func parseMode(v string) (*uint32, error) {
	n, err := strconv.ParseUint(v, 8, 32)
	if err != nil || n > 0o7777 {
		return nil, errkind.New(errkind.Invalid, "mode %q is not valid: write octal permission bits such as 0755 or 1777", clip(v))
	}
	m := uint32(n)
	return &m, nil
}

func parseBool(what, v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errkind.New(errkind.Invalid, "%s %q is not valid: write true or false", what, clip(v))
}
