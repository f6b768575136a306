package vc

import "github.com/vmware/govmomi/simulator"

func (s *Server) saveVM(*simulator.VirtualMachine)   {}
func (s *Server) forgetVM(*simulator.VirtualMachine) {}
func (s *Server) saveFCD(*fcd)                       {}
func (s *Server) forgetFCD(*fcd)                     {}
