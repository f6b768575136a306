package tenancy

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Limits of a profile, in characters.
const (
	maxContact = 254 // of an e-mail address, RFC 5321
	maxPhone   = 64
	maxWebsite = 2048
	maxAddress = 512
	maxLabel   = 64
	maxLabels  = 32
)

// CheckProfile tells everything that is wrong with a profile at once.
func CheckProfile(p wire.Profile) error {
	var wrong []string
	note := func(what, text string) {
		if text != "" {
			wrong = append(wrong, what+" "+text)
		}
	}
	note("e-mail", wrongText(p.Email, maxContact, wrongMail))
	note("phone", wrongText(p.Phone, maxPhone, nil))
	note("website", wrongText(p.Website, maxWebsite, wrongWeb))
	note("address", wrongText(p.Address, maxAddress, nil))
	for i, l := range p.Labels {
		switch text := wrongText(l, maxLabel, nil); {
		case text != "":
			note("label", text)
		case strings.TrimSpace(l) == "":
			note("label", "number "+strconv.Itoa(i+1)+" is empty")
		}
	}
	if len(p.Labels) > maxLabels {
		note("labels:", fmt.Sprintf("there are %d, at most %d are possible", len(p.Labels), maxLabels))
	}
	if len(wrong) == 0 {
		return nil
	}
	return errkind.New(errkind.Invalid, "the contact data are not valid: %s", strings.Join(wrong, "; "))
}

// wrongText is what is wrong with one value, "" for nothing.
func wrongText(v string, limit int, form func(string) string) string {
	switch {
	case v == "":
		return ""
	case !utf8.ValidString(v) || strings.ContainsFunc(v, unprintable):
		return fmt.Sprintf("%q contains control characters: write one line of text", v)
	case utf8.RuneCountInString(v) > limit:
		return fmt.Sprintf("is longer than %d characters", limit)
	case form == nil:
		return ""
	}
	return form(v)
}

// unprintable are also the marks that turn the direction of a text around: what
// somebody reads must be what is there.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

func wrongMail(v string) string {
	a, err := mail.ParseAddress(v)
	if err != nil || a.Address != v {
		return fmt.Sprintf("%q is not an address: write it as name@example.com", v)
	}
	return ""
}

func wrongWeb(v string) string {
	if _, err := webURL(v); err != nil {
		return fmt.Sprintf("%q is not an address: write it as https://www.example.com", v)
	}
	return ""
}

// webURL parses an address that a browser may open.
func webURL(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		err = errkind.New(errkind.Invalid, "no address of a website")
	}
	return u, err
}

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
		return CheckProfile(*req.Profile)
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
