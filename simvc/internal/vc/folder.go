package vc

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ticketAPI gives tickets for access to files.
type ticketAPI struct {
	api
	s *Server
}

const ticketCookie = "vmware_cgi_ticket"

// AcquireGenericServiceTicket gives a ticket for one request.
func (a *ticketAPI) AcquireGenericServiceTicket(_ *simulator.Context, _ *types.AcquireGenericServiceTicket) soap.HasFault {
	id := uuid.NewString()
	a.s.mu.Lock()
	a.s.tickets[id] = true
	a.s.mu.Unlock()
	return &methods.AcquireGenericServiceTicketBody{Res: &types.AcquireGenericServiceTicketResponse{
		Returnval: types.SessionManagerGenericServiceTicket{Id: id, HostName: a.s.addr},
	}}
}

// allowed says whether a request has a session or a ticket.
func (s *Server) allowed(r *http.Request) bool {
	if c, err := r.Cookie(ticketCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		ok := s.tickets[c.Value]
		delete(s.tickets, c.Value)
		return ok
	}
	return s.session(r)
}

const currentTime = `<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>` +
	`<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></Body></Envelope>`

// session asks the simulator whether it knows the session of a request.
func (s *Server) session(r *http.Request) bool {
	c, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return false
	}
	ask := httptest.NewRequestWithContext(r.Context(), http.MethodPost, "/sdk", strings.NewReader(currentTime))
	ask.AddCookie(c)
	w := httptest.NewRecorder()
	s.svc.ServeSDK(w, ask)
	return w.Code == http.StatusOK
}

// serveFolder is the access to files, /folder/path?dsName=x&dcPath=y.
func (s *Server) serveFolder(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	st := s.store(r.URL.Query().Get("dsName"))
	rel := strings.TrimPrefix(r.URL.Path, "/folder/")
	if st != nil {
		rel = s.given(st, rel)
	}
	if st == nil || rel == "" || s.extentless(st.file(rel)) {
		http.NotFound(w, r)
		return
	}
	name := canon(st.file(rel))
	_, p, fault := s.reachable(name)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		_, p, fault = s.writable(name)
	}
	if fault != nil {
		http.Error(w, "the datastore does not do that now", http.StatusServiceUnavailable)
		return
	}
	defer s.publishSoon(st)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.getFile(w, r, name, p)
	case http.MethodPut, http.MethodPost:
		s.putFile(w, r, st, name, p)
	case http.MethodDelete:
		if s.unlocked(name) != nil {
			http.Error(w, "the file is locked", http.StatusInternalServerError)
			return
		}
		if err := os.Remove(p); err != nil {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *Server) getFile(w http.ResponseWriter, r *http.Request, name, p string) {
	if rest, ok := strings.CutSuffix(name, "-flat.vmdk"); ok && s.readable(rest+".vmdk") != nil {
		http.Error(w, "the file is locked", http.StatusInternalServerError)
		return
	}
	f, err := os.Open(p)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		http.Error(w, "no listing", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// putFile replaces a whole file; a part of one cannot be written. Zeros become
// holes.
func (s *Server) putFile(w http.ResponseWriter, r *http.Request, st *store, name, p string) {
	if _, err := os.Lstat(p); err == nil && r.Method == http.MethodPost {
		http.Error(w, "the file exists", http.StatusConflict)
		return
	}
	if _, err := os.Stat(filepath.Dir(p)); err != nil {
		http.Error(w, "no such folder", http.StatusNotFound)
		return
	}
	if s.lockedForWriting(name) {
		http.Error(w, "the file is locked", http.StatusInternalServerError)
		return
	}
	if r.ContentLength > st.free() {
		http.Error(w, "no space", http.StatusInsufficientStorage)
		return
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	n, err := copySparse(f, r.Body)
	err = errors.Join(err, f.Truncate(n), f.Close())
	if err != nil || r.ContentLength >= 0 && n != r.ContentLength {
		http.Error(w, "the transfer broke", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// lockedForWriting lets the extent of a disk be replaced that no running machine
// and no snapshot needs.
func (s *Server) lockedForWriting(name string) bool {
	rest, ok := strings.CutSuffix(name, "-flat.vmdk")
	if !ok {
		return s.unlocked(name) != nil
	}
	return s.readable(rest+".vmdk") != nil || s.chained(rest+".vmdk")
}

func copySparse(f *os.File, r io.Reader) (int64, error) {
	buf := make([]byte, 256<<10)
	zero := make([]byte, len(buf))
	var off int64
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, werr := f.WriteAt(buf[:n], off); werr != nil {
				return off, werr
			}
		}
		off += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return off, nil
		}
		if err != nil {
			return off, err
		}
	}
}
