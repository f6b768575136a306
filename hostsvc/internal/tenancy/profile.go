package tenancy

import (
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// tidy sorts labels and takes the same ones out.
func tidy(p wire.Profile) wire.Profile {
	labels := []string{}
	for _, l := range p.Labels {
		labels = append(labels, strings.TrimSpace(l))
	}
	slices.Sort(labels)
	p.Labels = slices.Compact(labels)
	return p
}

func checkChange(req wire.UpdateTenant) error {
	if req.State != nil && *req.State != wire.TenantEnabled && *req.State != wire.TenantDisabled {
		return errkind.New(errkind.Invalid, "state %q is not valid: use %s or %s; a tenant is deleted by a DELETE", *req.State, wire.TenantEnabled, wire.TenantDisabled)
	}
	if req.Description != nil {
		if err := checkDescription(*req.Description); err != nil {
			return err
		}
	}
	if req.Profile != nil {
		return volspec.CheckContact(volspec.Contact(*req.Profile))
	}
	return nil
}

// action names a change in the audit log.
func action(req wire.UpdateTenant) string {
	if req.State == nil {
		return "vmgroup update"
	}
	if *req.State == wire.TenantDisabled {
		return "vmgroup disable"
	}
	return "vmgroup enable"
}

// changed is what the audit log says of a change.
func changed(req wire.UpdateTenant) string {
	var words []string
	if req.Description != nil {
		words = append(words, "description")
	}
	if req.Profile != nil {
		words = append(words, "profile")
	}
	if req.GuestAccess != nil {
		words = append(words, "guest-access="+strconv.FormatBool(*req.GuestAccess))
	}
	if req.GuestFiles != nil {
		words = append(words, "guest-files="+strconv.FormatBool(*req.GuestFiles))
	}
	if req.CancelJobs {
		words = append(words, "cancel-jobs")
	}
	return strings.Join(words, " ")
}
