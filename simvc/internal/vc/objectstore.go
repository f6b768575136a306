package vc

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// objectStores are the types of datastores that keep disks as objects: there are
// descriptors, but no extents behind their names, and folders at the top are
// objects too. The simulator below has a vSAN of its own, with other places for
// files: it is told of another type, and what it answers is corrected.
var objectStores = map[string]string{"vsan": "vsanD", "VVOL": "PMEM"}

// SetDatastoreType makes a datastore one of another type, until the simulator is
// started again.
func (s *Server) SetDatastoreType(name, kind string) error {
	st := s.store(name)
	if st == nil {
		return fmt.Errorf("there is no datastore %q", name)
	}
	told := kind
	if kind != "VMFS" {
		if told = objectStores[kind]; told == "" {
			return fmt.Errorf("%q is no type of a datastore", kind)
		}
		s.rules.corrected.Store(true)
	}
	ctx := s.ctx()
	ds := ctx.Map.Get(st.ref).(*simulator.Datastore)
	ctx.WithLock(ds, func() {
		ctx.Update(ds, []types.PropertyChange{
			{Name: "summary.type", Val: told},
			{Name: "capability.topLevelDirectoryCreateSupported", Val: kind == "VMFS"},
		})
	})
	return nil
}

// ofObjects says whether a datastore keeps objects.
func (s *Server) ofObjects(st *store) (is bool) {
	ctx := s.ctx()
	ds := ctx.Map.Get(st.ref).(*simulator.Datastore)
	ctx.WithLock(ds, func() { is = ds.Summary.Type != "VMFS" })
	return is
}

// shownAs is the name under which a datastore of objects shows a folder at its top;
// files are found under both.
func shownAs(store, folder string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(store+"/"+folder)).String()
}

// toGiven and toShown rewrite places of files, "[ds] folder/file".
func (s *Server) toGiven(text []byte) []byte {
	return s.renamed(text, func(store, folder string) (string, string) { return shownAs(store, folder), folder })
}

func (s *Server) toShown(text []byte) []byte {
	return inFile.ReplaceAllFunc(text, func(m []byte) []byte {
		return s.renamed(m, func(store, folder string) (string, string) { return folder, shownAs(store, folder) })
	})
}

var (
	// inFile are the properties in which places are shown.
	inFile = regexp.MustCompile(`<(?:fileName|filePath|vmPathName)>[^<]*</`)
	// inRequest are those in which places are asked for.
	inRequest = regexp.MustCompile(`<(?:fileName|vmPathName|name|sourceName|destName|destinationName|datastorePath|path)>[^<]*</`)
)

func (s *Server) renamed(text []byte, names func(store, folder string) (from, to string)) []byte {
	for _, st := range s.stores {
		if !bytes.Contains(text, []byte("["+st.name+"] ")) || !s.ofObjects(st) {
			continue
		}
		entries, _ := os.ReadDir(st.dir)
		for _, e := range entries {
			from, to := names(st.name, e.Name())
			text = bytes.ReplaceAll(text, []byte("["+st.name+"] "+from+"/"), []byte("["+st.name+"] "+to+"/"))
		}
	}
	return text
}

// given is the path of a file on a datastore under the names that were given.
func (s *Server) given(st *store, file string) string {
	place := s.toGiven([]byte("[" + st.name + "] " + file))
	return strings.TrimPrefix(string(place), "["+st.name+"] ")
}

// correct shows the types of datastores as they were set, and folders at the top of
// those of objects under other names.
func (s *Server) correct(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.rules.corrected.Load() {
			next.ServeHTTP(w, r)
			return
		}
		ask, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the request broke", http.StatusBadRequest)
			return
		}
		ask = inRequest.ReplaceAllFunc(ask, s.toGiven)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(ask)), int64(len(ask))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		for shown, told := range objectStores {
			body = bytes.ReplaceAll(body, []byte("<type>"+told+"</type>"), []byte("<type>"+shown+"</type>"))
		}
		body = s.toShown(body)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	})
}

// extentless says whether a name is that of an extent where there are none.
func (s *Server) extentless(name string) bool {
	var p object.DatastorePath
	if !p.FromString(name) || !vmfile.IsFlat(p.Path) {
		return false
	}
	st := s.store(p.Datastore)
	return st != nil && s.ofObjects(st)
}

// madeElsewhere says whether a folder, or the one at the top that it is in, is one
// that only the namespace manager makes.
func (s *Server) madeElsewhere(name string) bool {
	var p object.DatastorePath
	if !p.FromString(name) {
		return false
	}
	st := s.store(p.Datastore)
	if st == nil || !s.ofObjects(st) {
		return false
	}
	top, _, _ := strings.Cut(strings.Trim(path.Clean(p.Path), "/"), "/")
	_, err := os.Lstat(filepath.Join(st.dir, top))
	return err != nil
}

// namespaceAPI has the methods of DatastoreNamespaceManager.
type namespaceAPI struct {
	api
	s *Server
}

// CreateDirectory makes a folder at the top of a datastore of objects.
func (a *namespaceAPI) CreateDirectory(ctx *simulator.Context, req *types.CreateDirectory) soap.HasFault {
	body := &methods.CreateDirectoryBody{}
	st := a.s.storeOf(req.Datastore)
	switch {
	case st == nil:
		body.Fault_ = gone(req.Datastore)
	case !a.s.ofObjects(st):
		body.Fault_ = simulator.Fault("", &types.CannotCreateFile{FileFault: types.FileFault{File: req.DisplayName}})
	case req.DisplayName == "" || strings.Contains(req.DisplayName, "/"):
		body.Fault_ = simulator.Fault("", &types.InvalidDatastorePath{DatastorePath: req.DisplayName})
	default:
		if fault := a.s.makeFolder(st.file(req.DisplayName), false); fault != nil {
			body.Fault_ = simulator.Fault("", fault)
			break
		}
		body.Res = &types.CreateDirectoryResponse{Returnval: "/vmfs/volumes/" + st.name + "/" + req.DisplayName}
	}
	return body
}

// ConvertNamespacePathToUuidPath tells under which name a folder is shown.
func (a *namespaceAPI) ConvertNamespacePathToUuidPath(_ *simulator.Context, req *types.ConvertNamespacePathToUuidPath) soap.HasFault {
	body := &methods.ConvertNamespacePathToUuidPathBody{}
	for _, st := range a.s.stores {
		folder, ok := strings.CutPrefix(req.NamespaceUrl, st.dir+"/")
		if !ok || !a.s.ofObjects(st) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(st.dir, folder)); err != nil {
			body.Fault_ = simulator.Fault("", fileFault(req.NamespaceUrl, err))
			return body
		}
		body.Res = &types.ConvertNamespacePathToUuidPathResponse{Returnval: st.dir + "/" + shownAs(st.name, folder)}
		return body
	}
	body.Fault_ = simulator.Fault("", &types.InvalidDatastorePath{DatastorePath: req.NamespaceUrl})
	return body
}
