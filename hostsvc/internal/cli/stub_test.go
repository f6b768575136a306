package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var update = flag.Bool("update", false, "write the golden files and the command reference anew")

// memAdmin is a service without rules: it answers with what it was given,
// records every change, and fails the methods that fail names.
type memAdmin struct {
	groups    []wire.VMGroup
	volumes   []wire.Volume
	snapshots []wire.Snapshot
	vms       []wire.VM
	stores    []wire.Datastore
	findings  []wire.Finding
	audit     []wire.AuditEntry
	scan      wire.ScanResult
	status    wire.Status
	session   wire.Session
	pageSize  int
	memBackups

	calls  []string
	closed int
	fail   map[string]error // by method, or by method and object
}

func (m *memAdmin) did(method string, args ...any) error {
	var line strings.Builder
	line.WriteString(method)
	for _, a := range args {
		b, _ := json.Marshal(a)
		line.WriteString(" " + string(b))
	}
	m.calls = append(m.calls, line.String())
	for key, err := range m.fail {
		if strings.HasPrefix(line.String(), key) {
			return err
		}
	}
	return nil
}

func (m *memAdmin) Close() { m.closed++ }

func (m *memAdmin) Status(context.Context) (wire.Status, error) { return m.status, m.did("Status") }

func (m *memAdmin) Doctor(context.Context) ([]wire.Finding, error) {
	return m.findings, m.did("Doctor")
}

func (m *memAdmin) DoctorIsolation(context.Context) ([]wire.Finding, error) {
	return m.findings, m.did("DoctorIsolation")
}

func (m *memAdmin) Audit(_ context.Context, q hostclient.AuditQuery) (wire.AuditPage, error) {
	return wire.AuditPage{Entries: m.audit}, m.did("Audit", q)
}

func (m *memAdmin) ExportAudit(_ context.Context, q hostclient.AuditQuery) (hostclient.Download, error) {
	return hostclient.Download{ReadCloser: io.NopCloser(strings.NewReader("{}\n")), Size: -1}, m.did("ExportAudit", q)
}

func (m *memAdmin) VerifyAudit(_ context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error) {
	return []wire.AuditCheck{
		{Lines: 12, Whole: true, Head: "5e88", Detail: "whole"},
		{VMGroup: "Dev", Lines: 3, Broken: 4, Head: "77aa", Detail: "line 4 does not fit: it is missing"},
	}, m.did("VerifyAudit", vmgroup, heads)
}

func (m *memAdmin) VMs(context.Context) ([]wire.VM, error) { return m.vms, m.did("VMs") }

func (m *memAdmin) InviteVM(_ context.Context, vm string, r wire.Invite) (wire.Invitation, error) {
	in := wire.Invitation{
		VM: "00000000-0000-4000-8000-000000000001", Name: vm, URL: "tls://mooring.example:1020", CA: "sha256:" + strings.Repeat("0a", 32),
		Code: "aaaaaaaa-bbbbbbbb-cccccccc-dddddddd-eeeeeee", Expires: at(22, 8), Placed: r.GuestInfo,
	}
	if r.GuestInfo {
		in.Code = ""
	}
	return in, m.did("InviteVM", vm, r)
}

func (m *memAdmin) RevokeVM(_ context.Context, vm string) error { return m.did("RevokeVM", vm) }

func (m *memAdmin) VMGroups(context.Context) ([]wire.VMGroup, error) {
	return m.groups, m.did("VMGroups")
}

func (m *memAdmin) find(name string) (*wire.VMGroup, error) {
	for i := range m.groups {
		if m.groups[i].Name == name {
			return &m.groups[i], nil
		}
	}
	return &wire.VMGroup{}, errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
}

func (m *memAdmin) VMGroup(_ context.Context, name string) (wire.VMGroup, error) {
	if err := m.did("VMGroup", name); err != nil {
		return wire.VMGroup{}, err
	}
	g, err := m.find(name)
	return *g, err
}

func (m *memAdmin) CreateVMGroup(_ context.Context, r wire.CreateVMGroup) (wire.VMGroup, error) {
	g := wire.VMGroup{Name: r.Name, Description: r.Description, DefaultDatastore: r.DefaultDatastore}
	if id, ok := seedIDs[r.Name]; ok {
		g.ID = id
	}
	m.groups = append(m.groups, g)
	return g, m.did("CreateVMGroup", r)
}

func (m *memAdmin) UpdateVMGroup(_ context.Context, name string, u wire.UpdateVMGroup) (wire.VMGroup, error) {
	return wire.VMGroup{Name: name}, m.did("UpdateVMGroup", name, u)
}

func (m *memAdmin) RemoveVMGroup(_ context.Context, name string, force, removeVolumes bool) error {
	var left []wire.VMGroup
	for _, g := range m.groups {
		if g.Name != name {
			left = append(left, g)
		}
	}
	m.groups = left
	return m.did("RemoveVMGroup", name, force, removeVolumes)
}

func (m *memAdmin) ExportVMGroup(_ context.Context, name string) (string, error) {
	return "[[vmgroup]]\nname = \"" + name + "\"\n", m.did("ExportVMGroup", name)
}

func (m *memAdmin) GroupVMs(_ context.Context, vmgroup string) ([]wire.VM, error) {
	if err := m.did("GroupVMs", vmgroup); err != nil {
		return nil, err
	}
	g, err := m.find(vmgroup)
	return g.VMs, err
}

func (m *memAdmin) AddVMs(_ context.Context, vmgroup string, vms []string) error {
	if g, err := m.find(vmgroup); err == nil {
		for _, vm := range vms {
			g.VMs = append(g.VMs, wire.VM{Name: vm})
		}
	}
	return m.did("AddVMs", vmgroup, vms)
}

func (m *memAdmin) ReplaceVMs(_ context.Context, vmgroup string, vms []string) error {
	return m.did("ReplaceVMs", vmgroup, vms)
}

func (m *memAdmin) RemoveVMs(_ context.Context, vmgroup string, vms []string) error {
	return m.did("RemoveVMs", vmgroup, vms)
}

func (m *memAdmin) AccessRows(_ context.Context, vmgroup string) ([]wire.Access, error) {
	if err := m.did("AccessRows", vmgroup); err != nil {
		return nil, err
	}
	g, err := m.find(vmgroup)
	return g.Access, err
}

func (m *memAdmin) AddAccess(_ context.Context, vmgroup string, r wire.SetAccess) error {
	if g, err := m.find(vmgroup); err == nil {
		row := wire.Access{Datastore: r.Datastore, AllowCreate: *r.AllowCreate}
		if r.MaxSize != nil {
			row.MaxSize = *r.MaxSize
		}
		if r.TotalSize != nil {
			row.TotalSize = *r.TotalSize
		}
		g.Access = append(g.Access, row)
	}
	return m.did("AddAccess", vmgroup, r)
}

func (m *memAdmin) SetAccess(_ context.Context, vmgroup, datastore string, r wire.SetAccess) error {
	return m.did("SetAccess", vmgroup, datastore, r)
}

func (m *memAdmin) RemoveAccess(_ context.Context, vmgroup, datastore string) error {
	return m.did("RemoveAccess", vmgroup, datastore)
}

func (m *memAdmin) GroupFolders(_ context.Context, vmgroup string) ([]wire.Folder, error) {
	if err := m.did("GroupFolders", vmgroup); err != nil {
		return nil, err
	}
	g, err := m.find(vmgroup)
	if err != nil {
		return nil, err
	}
	all := []wire.Folder{}
	for _, f := range g.Folders {
		all = append(all, wire.Folder{Folder: f, State: "there", VMs: []wire.VM{{Name: "web1"}, {Name: "web2"}}})
	}
	return all, nil
}

func (m *memAdmin) AddFolder(_ context.Context, vmgroup, folder string) error {
	if g, err := m.find(vmgroup); err == nil {
		g.Folders = append(g.Folders, volspec.Folder(folder))
	}
	return m.did("AddFolder", vmgroup, folder)
}

func (m *memAdmin) RemoveFolder(_ context.Context, vmgroup, folder string) error {
	return m.did("RemoveFolder", vmgroup, folder)
}

func (m *memAdmin) Volumes(_ context.Context, q hostclient.VolumesQuery) (wire.VolumeList, error) {
	if err := m.did("Volumes", q.VMGroup, q.State, q.Datastore, q.After); err != nil {
		return wire.VolumeList{}, err
	}
	var found []wire.Volume
	for _, v := range m.volumes {
		match, err := filepath.Match(q.VMGroup, v.VMGroup)
		if (q.VMGroup == "" || match && err == nil) && (q.State == "all" || q.State == "" && !gone(v.State) || string(v.State) == q.State) &&
			(q.Datastore == "" || q.Datastore == v.Datastore) && string(v.ID) > q.After {
			found = append(found, v)
		}
	}
	if m.pageSize > 0 && len(found) > m.pageSize {
		found = found[:m.pageSize]
		return wire.VolumeList{Volumes: found, Next: string(found[m.pageSize-1].ID)}, nil
	}
	return wire.VolumeList{Volumes: found}, nil
}

func (m *memAdmin) lookup(vmgroup, name string) (wire.Volume, error) {
	for _, v := range m.volumes {
		if v.VMGroup == vmgroup && (v.Name == name || v.Volume == name || string(v.ID) == name) {
			return v, nil
		}
	}
	return wire.Volume{}, errkind.New(errkind.NotFound, "Volume %s does not exist in vmgroup %s", name, vmgroup)
}

func (m *memAdmin) CreateVolume(_ context.Context, vmgroup string, r wire.CreateVolume) (wire.Volume, error) {
	v, _ := m.lookup("Dev", "db")
	v.VMGroup, v.Name = vmgroup, r.Name+"@fast"
	return v, m.did("CreateVolume", vmgroup, r)
}

func (m *memAdmin) Volume(_ context.Context, vmgroup, name string) (wire.Volume, error) {
	if err := m.did("Volume", vmgroup, name); err != nil {
		return wire.Volume{}, err
	}
	return m.lookup(vmgroup, name)
}

func (m *memAdmin) SetVolume(_ context.Context, vmgroup, name string, s wire.SetVolume) (wire.Volume, error) {
	if err := m.did("SetVolume", vmgroup, name, s); err != nil {
		return wire.Volume{}, err
	}
	return m.lookup(vmgroup, name)
}

func (m *memAdmin) RemoveVolume(_ context.Context, vmgroup, name string, purge bool) error {
	return m.did("RemoveVolume", vmgroup, name, purge)
}

func (m *memAdmin) ResizeVolume(_ context.Context, vmgroup, name string, r wire.Resize) (wire.Volume, error) {
	v, _ := m.lookup(vmgroup, name)
	v.SizeBytes = int64(r.Size)
	return v, m.did("ResizeVolume", vmgroup, name, r)
}

func (m *memAdmin) DetachVolume(_ context.Context, vmgroup, name string, d wire.DetachVolume) error {
	return m.did("DetachVolume", vmgroup, name, d)
}

func (m *memAdmin) UndeleteVolume(_ context.Context, vmgroup, name string, u wire.Undelete) (wire.Volume, error) {
	v, _ := m.lookup(vmgroup, name)
	return v, m.did("UndeleteVolume", vmgroup, name, u)
}

func (m *memAdmin) Snapshots(_ context.Context, vmgroup, volume string) ([]wire.Snapshot, error) {
	return m.snapshots, m.did("Snapshots", vmgroup, volume)
}

func (m *memAdmin) CreateSnapshot(_ context.Context, vmgroup, volume string, s wire.CreateSnapshot) (wire.Snapshot, error) {
	return wire.Snapshot{Name: s.Name, Volume: volume}, m.did("CreateSnapshot", vmgroup, volume, s)
}

func (m *memAdmin) DeleteSnapshot(_ context.Context, vmgroup, volume, snapshot string) error {
	return m.did("DeleteSnapshot", vmgroup, volume, snapshot)
}

func (m *memAdmin) Datastores(context.Context) ([]wire.Datastore, error) {
	return m.stores, m.did("Datastores")
}

func (m *memAdmin) Scan(_ context.Context, datastore string, s wire.Scan) (wire.ScanResult, error) {
	return m.scan, m.did("Scan", datastore, s)
}

// memConfig is one valid file, one invalid file and defaults.
type memConfig struct{}

func (memConfig) DefaultPath() string { return "/etc/mooring/mooring.toml" }

func (memConfig) Effective(path string) (string, error) {
	switch path {
	case "":
		return "hypervisor = \"local\"\n", nil
	case "good.toml":
		return "hypervisor = \"local\"\nstate_dir = \"/srv\"\n", nil
	}
	return "", errkind.New(errkind.Invalid, "configuration %s is not valid:\n  %s:3: stat_dir: unknown key\n  %s:9: log.level: not a level", path, path, path)
}

// outcome is what one command line did.
type outcome struct {
	code     int
	out, err string
}

// session runs command lines against one service.
type session struct {
	admin *memAdmin
	opts  Options
	in    string
}

func newSession(m *memAdmin) *session {
	s := &session{admin: m}
	s.opts = Options{
		Version: "1.2.3",
		Getenv:  func(string) string { return "" },
		Connect: func(string) (Admin, error) { return m, nil },
		Web:     &memWeb{admin: m, trusted: true},
		Config:  memConfig{},
	}
	return s
}

func (s *session) run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	o := s.opts
	o.In, o.Out, o.Err = strings.NewReader(s.in), &out, &errs
	code := Run(t.Context(), args, o)
	return outcome{code, out.String(), errs.String()}
}

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to make the file")
	require.Equal(t, string(want), got, "see %s; -update accepts the new text", path)
}
