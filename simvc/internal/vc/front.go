package vc

import "net/http"

// front stands before everything the simulator serves.
func (s *Server) front(next http.Handler) http.Handler {
	return next
}
