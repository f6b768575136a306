package volspec

import (
	"regexp"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Options that a tenant may pass to programs that run as root in the guest
// are allow-lists: nothing here can name a file or another device.
var (
	mountWords = []string{
		"dev", "nodev", "suid", "nosuid", "exec", "noexec", "atime", "noatime", "nodiratime", "relatime",
		"strictatime", "lazytime", "sync", "discard", "nodiscard",
	}
	mountValues = regexp.MustCompile(`^(commit=[0-9]{1,3}|data=(ordered|writeback|journal)|errors=(remount-ro|continue)|compress=(zstd|lzo|zlib)(:[0-9]{1,2})?|logbufs=[2-8]|allocsize=[0-9]{1,4}[kKmM])$`)

	mkfsAllowed = map[string]*regexp.Regexp{
		Ext4:  regexp.MustCompile(`^(-b (1024|2048|4096)|-i [0-9]{4,8}|-I (128|256|512|1024)|-m [0-9]{1,2}|-N [0-9]{1,9}|-O \^?(metadata_csum|64bit|has_journal|huge_file|dir_nlink|extra_isize|large_dir|quota|project|casefold|encrypt|verity|inline_data|bigalloc)(,\^?(metadata_csum|64bit|has_journal|huge_file|dir_nlink|extra_isize|large_dir|quota|project|casefold|encrypt|verity|inline_data|bigalloc))*|-E (lazy_itable_init|lazy_journal_init|nodiscard|discard|stride|stripe_width)(=[0-9]{1,6})?)$`),
		XFS:   regexp.MustCompile(`^(-b size=(1024|2048|4096)|-i (size=(512|1024|2048)|maxpct=[0-9]{1,3})|-m (crc|finobt|reflink|rmapbt|bigtime|inobtcount)=[01](,(crc|finobt|reflink|rmapbt|bigtime|inobtcount)=[01])*|-d (agcount=[0-9]{1,4}|su=[0-9]{1,5}k,sw=[0-9]{1,3})|-n (ftype=1|size=[0-9]{4,5})|-K)$`),
		Btrfs: regexp.MustCompile(`^(-n [0-9]{4,5}k?|-m (single|dup)|-d (single|dup)|-O [a-z0-9^,-]{1,100}|-M|--mixed|-K|--nodiscard|--checksum (crc32c|xxhash|sha256|blake2)|--csum (crc32c|xxhash|sha256|blake2))$`),
	}
)

// ParseMountOpts reads a comma list of mount options and refuses those that
// are not on the allow-list. Read-only is not a mount option here: it is
// access=read-only, which is enforced below the guest.
func ParseMountOpts(v string) ([]string, error) {
	var opts []string
	for o := range strings.SplitSeq(v, ",") {
		if o == "ro" || o == "rw" {
			return nil, errkind.New(errkind.Invalid, "mountopts %q is not valid: use -o access=read-only or access=read-write", o)
		}
		if !slices.Contains(mountWords, o) && !mountValues.MatchString(o) {
			return nil, errkind.New(errkind.Invalid, "mountopts %q is not supported: valid are %s, commit=, data=, errors=, compress=, logbufs= and allocsize=", clip(o), strings.Join(mountWords, ", "))
		}
		opts = append(opts, o)
	}
	return opts, nil
}

// MkfsArgs validates the words of mkfsopts for a filesystem and returns the
// argument list for its mkfs. Each option is one flag, with its value as the
// next word where it takes one. No force flag is on the list.
func MkfsArgs(fstype string, words []string) ([]string, error) {
	allowed := mkfsAllowed[fstype]
	var args []string
	for i := 0; i < len(words); i++ {
		one := words[i]
		taken := []string{one}
		if i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			one += " " + words[i+1]
			taken = words[i : i+2]
			i++
		}
		if allowed == nil || !allowed.MatchString(one) {
			return nil, errkind.New(errkind.Invalid, "mkfsopts %q is not supported for %s: see the list in the plugin guide", clip(one), fstype)
		}
		args = append(args, taken...)
	}
	return args, nil
}
