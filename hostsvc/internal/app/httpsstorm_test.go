package app

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever storms the portal sees a page that says when to go on; the others go
// on meanwhile.
func TestAStormOnThePortalIsRefused(t *testing.T) {
	s := newSite(t, httpsTable+"user_requests = 5\n"+twoVMs).start(t).ready(t)
	root, owner := s.fill(t)
	var refused page
	for range 500 {
		if refused = owner.get("/account"); refused.status != http.StatusOK {
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, refused.status)
	assert.Contains(t, refused.text, "Too many requests")
	assert.Contains(t, refused.text, "go on in")
	assert.Equal(t, http.StatusOK, root.get("/").status)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	resp, _ := s.get(t, &http.Client{Transport: tr}, "/login")
	assert.Equal(t, http.StatusOK, resp.StatusCode, "a visitor")
}
