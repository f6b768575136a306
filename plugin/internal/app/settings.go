package app

import (
	"flag"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
)

// Setting is one thing that can be set, by an environment variable or a flag
// (which wins). Every setting has its default here: an upgraded plugin keeps
// the environment of its elder, in which new entries are absent.
type Setting struct {
	Env, Flag   string
	Default     string
	Description string
	Managed     bool // set with docker plugin set; the others are fixed by the plugin's manifest
	field       func(*Settings) *string
}

// Settings are the values in force, as written.
type Settings struct {
	Host, Enroll, CA, LogLevel, OldLogLevel, LogFormat, SocketGID string
	Timeout, Engine, Reconcile, MountRoot, Socket                 string
}

// Table lists all settings.
func Table() []Setting {
	return []Setting{
		{"MOORING_HOST", "host", "unix:///run/mooring/guest/self.sock", "channel to the host service, as a URL; its scheme chooses the kind of channel", true, func(s *Settings) *string { return &s.Host }},
		{"MOORING_ENROLL", "enroll", "/run/mooring/enroll", "where the one-time code for enrolling is found, for a tls:// channel: a file, or guestinfo", true, func(s *Settings) *string { return &s.Enroll }},
		{"MOORING_CA", "ca", "", "fingerprint of the host service's authority, for a tls:// channel, or a file with its certificate", true, func(s *Settings) *string { return &s.CA }},
		{"MOORING_LOG_LEVEL", "log-level", "info", "what is logged: debug, info, warn or error", true, func(s *Settings) *string { return &s.LogLevel }},
		{"VDVS_LOG_LEVEL", "", "", "former name of MOORING_LOG_LEVEL, which it replaces when it is not empty", true, func(s *Settings) *string { return &s.OldLogLevel }},
		{"MOORING_LOG_FORMAT", "log-format", "auto", "form of the log: json, text, or auto (text on a terminal)", true, func(s *Settings) *string { return &s.LogFormat }},
		{"VDVS_SOCKET_GID", "group", "root", "group that owns the plugin's socket, by name or number", true, func(s *Settings) *string { return &s.SocketGID }},
		{"MOORING_TIMEOUT", "timeout", "25s", "longest time for one call of Docker, whose own limit is 30s after a plain docker plugin enable", true, func(s *Settings) *string { return &s.Timeout }},
		{"MOORING_ENGINE", "engine", "unix:///run/docker.sock", "Docker's API, asked which containers use volumes; without it use counts that were lost are not healed", true, func(s *Settings) *string { return &s.Engine }},
		{"MOORING_RECONCILE", "reconcile", "1m", "time between two comparisons of mounts, uses and attachments, and how long something must look unused", true, func(s *Settings) *string { return &s.Reconcile }},
		{"MOORING_MOUNT_ROOT", "mount-root", "/mnt/vsphere", "folder below which volumes are mounted and the plugin keeps its state", false, func(s *Settings) *string { return &s.MountRoot }},
		{"MOORING_SOCKET", "socket", "/run/docker/plugins/vsphere.sock", "socket on which Docker's requests arrive", false, func(s *Settings) *string { return &s.Socket }},
	}
}

// Limits of the times that can be set.
const (
	minTimeout, maxTimeout     = 2 * time.Second, 110 * time.Second // Docker gives Mount 120 s
	minReconcile, maxReconcile = 200 * time.Millisecond, time.Hour
)

// Parse reads flags and environment. help is true when only the usage was
// asked for, and version when only the version was; usage goes to out.
func Parse(args []string, getenv func(string) (string, bool), out io.Writer) (s Settings, version bool, err error) {
	fs := flag.NewFlagSet("mooring-plugin", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.BoolVar(&version, "version", false, "print the version and exit")
	for _, t := range Table() {
		p := t.field(&s)
		*p = t.Default
		if v, ok := getenv(t.Env); ok && v != "" {
			*p = v
		}
		if t.Flag != "" {
			fs.StringVar(p, t.Flag, *p, t.Description+" ("+t.Env+")")
		}
	}
	if err := fs.Parse(args); err != nil {
		return s, false, err
	}
	if fs.NArg() > 0 {
		return s, false, errkind.New(errkind.Invalid, "unexpected argument %q: settings are flags such as --log-level=debug", fs.Arg(0))
	}
	return s, version, nil
}

// values are checked settings.
type values struct {
	host, engine       string
	logLevel           string
	gid                int
	timeout, reconcile time.Duration
}

// check reads the settings that are not plain words; all problems at once.
func (s Settings) check() (v values, err error) {
	var problems []string
	bad := func(name string, err error) {
		if err != nil {
			problems = append(problems, name+": "+errkind.Text(err))
		}
	}
	v.host, v.engine, v.logLevel = s.Host, s.Engine, s.LogLevel
	bad("MOORING_HOST", transport.Check(s.Host))
	bad("MOORING_ENGINE", checkEngine(s.Engine))
	if transport.IsTLS(s.Host) {
		bad("MOORING_ENROLL", checkEnroll(s.Enroll))
		bad("MOORING_CA", checkCA(s.CA))
	}
	if s.OldLogLevel != "" {
		v.logLevel = s.OldLogLevel
	}
	v.gid, err = group(s.SocketGID)
	bad("VDVS_SOCKET_GID", err)
	v.timeout, err = duration(s.Timeout, minTimeout, maxTimeout)
	bad("MOORING_TIMEOUT", err)
	v.reconcile, err = duration(s.Reconcile, minReconcile, maxReconcile)
	bad("MOORING_RECONCILE", err)
	if len(problems) > 0 {
		return v, errkind.New(errkind.Invalid, "%s", strings.Join(problems, "; "))
	}
	return v, nil
}

func checkEngine(url string) error {
	if transport.IsTLS(url) {
		return fmt.Errorf("%q is not valid: write unix:// and the path of the engine's socket", url)
	}
	return transport.Check(url)
}

// guestInfo is the word for an invitation by the hypervisor.
const guestInfo = "guestinfo"

func checkEnroll(s string) error {
	if s == guestInfo || strings.HasPrefix(s, "/") {
		return nil
	}
	return fmt.Errorf("%q is not valid: write the absolute path of a file, or %s", s, guestInfo)
}

// checkCA leaves files to the time when they are needed.
func checkCA(s string) error {
	if s == "" || strings.HasPrefix(s, "/") {
		return nil
	}
	_, err := transport.ReadPin(s)
	return err
}

func duration(s string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("%q is not valid: write a time from %s to %s, such as 25s", s, low, high)
	}
	return d, nil
}

func group(s string) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	if s == "root" {
		return 0, nil // the plugin's own filesystem has no list of groups
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, fmt.Errorf("group %q is not known here: write its number", s)
	}
	return strconv.Atoi(g.Gid)
}
