package vc

import (
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func faultIs[T types.BaseMethodFault](err error) bool {
	if !soap.IsSoapFault(err) {
		return false
	}
	_, ok := soap.ToSoapFault(err).VimFault().(T)
	return ok
}

func faultOf[T types.BaseMethodFault](f *soap.Fault) bool {
	_, ok := f.VimFault().(T)
	return ok
}

func faultError(f *soap.Fault) error { return soap.WrapSoapFault(f) }
