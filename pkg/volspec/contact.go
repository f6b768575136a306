package volspec

import (
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/visible"
)

// Contact is what a vmgroup says of itself to people.
type Contact struct {
	Email   string
	Phone   string
	Website string
	Address string
	Labels  []string
}

// Limits of contact data, in characters.
const (
	maxContact = 254 // of an e-mail address, RFC 5321
	maxPhone   = 64
	maxWebsite = 2048
	maxAddress = 512
	maxLabel   = 64
	maxLabels  = 32
)

// CheckContact tells everything that is wrong with contact data at once.
func CheckContact(p Contact) error {
	var wrong []string
	note := func(what, text string) {
		if text != "" {
			wrong = append(wrong, what+" "+text)
		}
	}
	note("e-mail", WrongText(p.Email, maxContact, wrongMail))
	note("phone", WrongText(p.Phone, maxPhone, nil))
	note("website", WrongText(p.Website, maxWebsite, WrongWeb))
	note("address", WrongText(p.Address, maxAddress, nil))
	for i, l := range p.Labels {
		switch text := WrongText(l, maxLabel, nil); {
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

// WrongText is what is wrong with one line of text that people read, "" for
// nothing. form, if there is one, is asked about the rest.
func WrongText(v string, limit int, form func(string) string) string {
	switch {
	case v == "":
		return ""
	case !utf8.ValidString(v) || strings.ContainsFunc(v, visible.HiddenInText): // what somebody reads must be what is there
		return fmt.Sprintf("%q contains control characters: write one line of text", v)
	case utf8.RuneCountInString(v) > limit:
		return fmt.Sprintf("is longer than %d characters", limit)
	case form == nil:
		return ""
	}
	return form(v)
}

func wrongMail(v string) string {
	a, err := mail.ParseAddress(v)
	if err != nil || a.Address != v {
		return fmt.Sprintf("%q is not an address: write it as name@example.com", v)
	}
	return ""
}

// WrongWeb is what is wrong with the address of a website, "" for nothing.
func WrongWeb(v string) string {
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
