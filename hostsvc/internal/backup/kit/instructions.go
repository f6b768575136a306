package kit

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"mooring.dev/mooring/hostsvc/internal/repository"
)

// instructions is what a person does with the kit.
func instructions(k Kit) string {
	var b strings.Builder
	group := cmp.Or(k.Tenant, "restored")
	name := group + "/" + cmp.Or(k.Name, "repository")
	fmt.Fprintf(&b, `
HOW TO RESTORE WITH MOORING

On any machine with Mooring, also a new and empty one. Save this text as
kit.txt, readable for you only.
%s
  mooring vmgroup create --name=%s
  mooring repository attach %s --kit=kit.txt
  mooring backup ls %s
  mooring backup restore %s

The first command is not needed where the vmgroup exists. The third one lists
the recovery points; the last one makes a volume of the one that is named.

HOW TO RESTORE WITHOUT MOORING

The repository has the format of kopia (https://kopia.io), version 0.22. The
kopia program asks for a password: that is the key above.

`, needs(k), shell(group), shell(name), shell(group), shell(group+"/POINT"))
	for _, l := range kopia(k) {
		b.WriteString("  " + l + "\n")
	}
	b.WriteString(`
The list shows one object id per recovery point, which begins with k. The
folder then holds disk.img, the raw disk with the volume's filesystem on it
(mount -o ro,loop disk.img /mnt shows the files), and point.json about it.
`)
	return b.String()
}

// needs says what else must be at hand.
func needs(k Kit) string {
	var lines []string
	if k.Location.CAFile != "" {
		lines = append(lines, "The server's certificate is verified with "+line(k.Location.CAFile)+": put that file there.")
	}
	if k.Location.Type == repository.Directory {
		lines = append(lines, "The repository must be at "+line(k.Location.Path)+", or add --path=FOLDER.")
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// kopia is what a shell is told to restore with the standard program.
func kopia(k Kit) []string {
	var lines []string
	l, c := k.Location, k.Credentials
	connect := []string{"kopia repository connect"}
	add := func(flag, value string) {
		if value != "" {
			connect = append(connect, flag+"="+shell(value))
		}
	}
	switch l.Type {
	case repository.Directory:
		connect = append(connect, "filesystem", "--path="+shell(l.Path))
	case repository.S3:
		lines = append(lines, "export AWS_ACCESS_KEY_ID="+given(c.AccessKey, "ACCESS-KEY"), "export AWS_SECRET_ACCESS_KEY="+given(c.SecretKey, "SECRET-KEY"))
		if c.SessionToken != "" {
			lines = append(lines, "export AWS_SESSION_TOKEN="+shell(c.SessionToken))
		}
		connect = append(connect, "s3")
		add("--endpoint", l.Endpoint)
		add("--region", l.Region)
		add("--bucket", l.Bucket)
		add("--prefix", folder(l.Prefix))
		add("--root-ca-pem-path", l.CAFile)
		if l.Insecure {
			connect = append(connect, "--disable-tls")
		}
	case repository.SFTP:
		connect = append(connect, "sftp")
		add("--host", l.Host)
		add("--port", strconv.Itoa(cmp.Or(l.Port, 22)))
		add("--username", l.User)
		add("--path", l.Path)
		add("--known-hosts-data", knownHost(l))
		if c.Password != "" && c.PrivateKey == "" {
			add("--sftp-password", c.Password)
		} else {
			if c.PrivateKey != "" {
				lines = append(lines, `(umask 077; sed -n 's/^ *private_key: \{0,1\}//p' kit.txt >ssh.key)`)
			}
			connect = append(connect, `--keyfile="$PWD/ssh.key"`)
		}
	}
	lines = append(lines, strings.Join(append(connect, "--readonly"), " "))
	return append(lines, "kopia snapshot list --all", "kopia restore --write-sparse-files OBJECT-ID FOLDER", "kopia repository disconnect")
}

func given(secret, placeholder string) string {
	if secret == "" {
		return placeholder
	}
	return shell(secret)
}

// folder is a prefix as the repository's objects have it.
func folder(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

func knownHost(l repository.Location) string {
	if l.HostKey == "" {
		return ""
	}
	host := l.Host
	if l.Port != 0 && l.Port != 22 {
		host = fmt.Sprintf("[%s]:%d", l.Host, l.Port)
	}
	return host + " " + l.HostKey
}

var safe = regexp.MustCompile(`^[a-zA-Z0-9_@%+=:,./-]+$`)

// shell quotes a word for a POSIX shell.
func shell(s string) string {
	if safe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(line(s), "'", `'\''`) + "'"
}

// line is s without what would break the line that it stands in.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
