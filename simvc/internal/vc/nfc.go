package vc

import "net/http"

func (s *Server) serveNFC(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
