package app

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Whatever is sent to the channel for people, it is refused in order and the
// service goes on.
func TestHostileRequestsOverTLS(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	login := func(body string) string {
		return "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	get := func(path string, headers ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(headers, "") + "\r\n"
	}
	for name, tc := range map[string]struct {
		sent string
		want []int
	}{
		"a body that is too large":   {login(`{"user":"` + strings.Repeat("a", 256<<10) + `"}`), []int{400, 413}},
		"100000 nested lists":        {login(strings.Repeat("[", 100_000)), []int{400}},
		"nested objects":             {login(strings.Repeat(`{"user":`, 20_000)), []int{400}},
		"a huge number":              {login(`{"user":1e999999}`), []int{400}},
		"a number for a word":        {login(`{"user":1}`), []int{400}},
		"invalid UTF-8":              {login("{\"user\":\"\xff\xfe\"}"), []int{400, 403}},
		"two values":                 {login(`{} {}`), []int{400}},
		"unknown key":                {login(`{"user":"a","role":"master-admin"}`), []int{400}},
		"no JSON":                    {login("\x00\x01"), []int{400}},
		"1000 headers":               {get("/api/v1/welcome", strings.Repeat("X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 1000)), []int{431}},
		"dots in the path":           {get("/api/v1/%2e%2e/%2e%2e/etc/passwd"), []int{401, 404}},
		"slashes":                    {get("/api/v1//vmgroups//_DEFAULT"), []int{401, 404}},
		"semicolon":                  {get("/api/v1/vmgroups;x=1"), []int{401, 404}},
		"NUL":                        {get("/api/v1/vmgroups/%00"), []int{401, 404}},
		"dots in a page":             {get("/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), []int{303, 404}},
		"absolute form":              {get("http://127.0.0.1:1/api/v1/status"), []int{401, 404}},
		"absolute form of a page":    {get("http://evil.example/jobs"), []int{303}},
		"another host":               {strings.Replace(get("/jobs"), "Host: x", "Host: evil.example", 1), []int{303}},
		"another host of the API":    {strings.Replace(get("/api/v1/status"), "Host: x", "Host: evil.example", 1), []int{401}},
		"no host":                    {"GET / HTTP/1.1\r\n\r\n", []int{400}},
		"two hosts":                  {get("/", "Host: evil.example\r\n"), []int{400}},
		"two slashes at a page":      {get("//evil.example/jobs"), []int{301, 307}},
		"escaped slashes at a page":  {get("/%2fevil.example/jobs"), []int{301, 303, 307, 404}},
		"dots at a page":             {get("/jobs/%2e%2e/%2e%2e/etc/passwd"), []int{301, 303, 307, 404}},
		"a page behind the API":      {get("/api/../jobs"), []int{401, 404}},
		"the API behind a page":      {get("/jobs/../api/v1/status"), []int{301, 303, 307, 404}},
		"a cookie that is too large": {get("/", "Cookie: __Host-mooring="+strings.Repeat("a", 60_000)+"\r\n"), []int{431}},
		"TRACE":                      {"TRACE / HTTP/1.1\r\nHost: x\r\nCookie: __Host-mooring=secret\r\n\r\n", []int{405}},
		"TRACE of the API":           {"TRACE /api/v1/session HTTP/1.1\r\nHost: x\r\nCookie: __Host-mooring=secret\r\n\r\n", []int{401}},
		"CONNECT":                    {"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", []int{405}},
		"websocket":                  {get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YWJjZGVmZ2hpamtsbW5vcA==\r\n"), []int{200, 303}},
		"two proofs":                 {get("/api/v1/session", "Cookie: __Host-mooring=a\r\n", "Authorization: Bearer b\r\n"), []int{400}},
		"two cookies at a page":      {get("/jobs", "Cookie: __Host-mooring=a; __Host-mooring=b\r\n"), []int{400}},
		"two cookies":                {get("/api/v1/session", "Cookie: __Host-mooring=a; __Host-mooring=b\r\n"), []int{400}},
		"a long token":               {get("/api/v1/session", "Authorization: Bearer "+strings.Repeat("m", 20_000)+"\r\n"), []int{401, 403}},
		"length and chunks at once":  {"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400}},
		"an unknown coding":          {"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}},
		"markup as a page's address": {get("/%3Cscript%3Ealert(1)%3C/script%3E"), []int{303, 404}},
		"a template in a parameter":  {get("/t/%7B%7B.%7D%7D%3Cscript%3Ealert(1)"), []int{200, 303, 404}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t, anyTLS).(*tls.Conn)
			require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
			_, _ = io.WriteString(conn, tc.sent) // it may be cut off before its end
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			assert.Contains(t, tc.want, resp.StatusCode, "%s", body)
			assert.NotContains(t, string(body), "<script>alert", "markup comes back as text")
			assert.NotContains(t, string(body), "root:")
			assert.NotContains(t, string(body), "secret")
			if to := resp.Header.Get("Location"); to != "" {
				assert.Regexp(t, "^/([^/\\\\]|$)", to, "no redirect leads elsewhere")
			}
		})
	}
	resp, _ := s.get(t, s.browser(t), "/healthz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

// Requests that are taken back at once are work for nobody else.
func TestRequestsTakenBack(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	conn := s.dial(t, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http2.NextProtoTLS}})
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range 500 {
		block.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/login"}} {
			require.NoError(t, enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
		}
		id := uint32(2*i + 1)
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		if err == nil {
			err = framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			break // the service may have had enough
		}
	}
	resp, _ := s.get(t, s.browser(t), "/healthz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}
