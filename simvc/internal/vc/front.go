package vc

import (
	"net/http"
	"strings"
)

// front stands before everything the simulator serves: it knows the calls by
// name, and lets the rules of the tests act on them.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/folder/") {
			s.serveFolder(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
