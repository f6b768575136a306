package api_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// vaults are backup use cases that know names by vmgroup, and nothing more.
// What is not overridden must not be reached by anybody in these tests.
type vaults struct {
	api.Backups
	names map[string][]string
}

// find is what every use case does first.
func (v vaults) find(group, name string) error {
	if slices.Contains(v.names[group], name) {
		return nil
	}
	return errkind.New(errkind.NotFound, "%s does not exist in vmgroup %s", name, group)
}

// readsOfOneThing are the endpoints about one thing of a vmgroup that an
// administrator may ask for without changing anything.
func readsOfOneThing() (rows []api.Row) {
	for _, r := range api.AdminRows() {
		for _, thing := range []string{"{repository}", "{point}", "{policy}", "{job}"} {
			if r.Method == http.MethodGet && strings.Contains(r.Path, "{vmgroup}") && strings.Contains(r.Path, thing) {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// What another vmgroup has is, under one's own vmgroup's path, exactly what
// nobody has, on every endpoint: also on those that write streams.
func TestPathsKeepVMGroupsApart(t *testing.T) {
	w := newWorld(t)
	w.secrets()
	w.group("tenants", "")
	w.vaults.names["tenants"] = []string{"common"}
	w.socket["admin"] = w.serve(w.srv, admin)
	asAdmin := volspec.Caller{VMName: "admin"}
	rows := readsOfOneThing()
	require.Greater(t, len(rows), 8)
	for _, row := range rows {
		in := func(group, name string) (int, string) {
			path := strings.ReplaceAll(row.Path, "{vmgroup}", group)
			for _, v := range []string{"{repository}", "{point}", "{policy}", "{job}"} {
				path = strings.ReplaceAll(path, v, name)
			}
			status, got, _ := w.play(asAdmin, row.Method, wire.Prefix+path, "")
			return status, strings.ReplaceAll(got, name, "NAME")
		}
		for _, name := range []string{"repository", "point", "policy", "job"} {
			theirs := word + "-" + name
			status, _ := in(word+"-group", theirs)
			assert.Equal(t, http.StatusOK, status, "%s: the owner's group has it", row.Path)
			status, foreign := in("tenants", theirs)
			assert.Equal(t, http.StatusNotFound, status, row.Path)
			_, absent := in("tenants", "never")
			assert.Equal(t, absent, foreign, row.Path)
		}
		status, _ := in("tenants", "common")
		assert.Equal(t, http.StatusOK, status, "%s: of the same name, its own", row.Path)
	}
}

func (v vaults) Repository(_ context.Context, group, name string) (wire.Repository, error) {
	return wire.Repository{VMGroup: group, Name: name}, v.find(group, name)
}

func (v vaults) Point(_ context.Context, group, ref string) (wire.Point, error) {
	return wire.Point{VMGroup: group, ID: volspec.PointID(ref)}, v.find(group, ref)
}

func (v vaults) Files(_ context.Context, _ volspec.Caller, group, ref, _, _ string, _ int) (wire.FileList, error) {
	return wire.FileList{}, v.find(group, ref)
}

func (v vaults) File(_ context.Context, _ volspec.Caller, group, ref, _ string, start func(string, int64), w io.Writer) error {
	return v.stream(group, ref, start, w)
}

func (v vaults) Tar(_ context.Context, _ volspec.Caller, group, ref string, _ []string, start func(string, int64), w io.Writer) error {
	return v.stream(group, ref, start, w)
}

func (v vaults) Image(_ context.Context, _ volspec.Caller, group, ref string, start func(string, int64), w io.Writer) error {
	return v.stream(group, ref, start, w)
}

func (v vaults) stream(group, ref string, start func(string, int64), w io.Writer) error {
	if err := v.find(group, ref); err != nil {
		return err
	}
	start(ref, -1)
	_, err := io.WriteString(w, group+"/"+ref)
	return err
}

func (v vaults) Policy(_ context.Context, group, name string) (wire.Policy, error) {
	return wire.Policy{VMGroup: group, Name: name}, v.find(group, name)
}

func (v vaults) PreviewPolicy(_ context.Context, group, name string) (wire.PolicyPreview, error) {
	return wire.PolicyPreview{}, v.find(group, name)
}

func (v vaults) Job(_ context.Context, group string, id volspec.JobID, _ int) (wire.Job, error) {
	return wire.Job{VMGroup: group, ID: id, State: "done"}, v.find(group, string(id))
}
