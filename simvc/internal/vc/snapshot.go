package vc

import "github.com/vmware/govmomi/simulator"

func (s *Server) dropSnapshots(*simulator.Context, *simulator.VirtualMachine) {}
