package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

const openapiFile = "../../../docs/openapi.json"

// docs/openapi.json says what the table and the wire types say. It is made
// here, by go test ./hostsvc/internal/api -run OpenAPI -update.
func TestOpenAPIIsCurrent(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(document(t)))
	if *update {
		require.NoError(t, os.WriteFile(openapiFile, b.Bytes(), 0o644))
	}
	committed, err := os.ReadFile(openapiFile)
	require.NoError(t, err)
	assert.Equal(t, string(committed), b.String(), "run the test with -update")
}

// Every reference leads somewhere, and every schema is used.
func TestOpenAPIIsWhole(t *testing.T) {
	data, err := json.Marshal(document(t))
	require.NoError(t, err)
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	require.NoError(t, json.Unmarshal(data, &doc))
	const ref = `"#/components/schemas/`
	for _, part := range strings.Split(string(data), ref)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		assert.Contains(t, doc.Components.Schemas, name)
	}
	for name := range doc.Components.Schemas {
		assert.Contains(t, string(data), ref+name+`"`, "nothing uses it")
	}
	n := 0
	for _, methods := range doc.Paths {
		n += len(methods)
	}
	distinct := map[string]bool{}
	for _, e := range endpoints {
		distinct[e.name()] = true
	}
	assert.Len(t, distinct, n)
}

type object = map[string]any

func document(t *testing.T) object {
	s := newSchemas(t)
	paths := map[string]object{}
	for _, group := range byName() {
		e := group[0]
		p := wire.Prefix + e.path
		if paths[p] == nil {
			paths[p] = object{}
		}
		paths[p][strings.ToLower(e.method)] = operation(t, s, group)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":   "Mooring host service",
			"version": fmt.Sprintf("v1, protocol %d", wire.Protocol),
			"description": "HTTP with JSON, over HTTPS for people and their programs, and over the channels of the host service. " +
				"Over HTTPS a token, or the cookie of a session, says who calls; elsewhere the channel proves it: the admin socket is for root and the service's group, " +
				"a guest channel is one VM, and everything on it concerns the vmgroup of that VM; a stranger is a VM without a certificate on a TLS channel. " +
				"x-audience says for whom an operation exists; for everybody else it is the same 404 as a path that was never there. " +
				"x-permission is what the caller needs; GET /session lists what it has. " +
				"A peer may state its protocol in " + wire.HeaderProtocol + " and give a request id in " + wire.HeaderRequest + " (1 to 64 of 0-9, a-z, A-Z and -), " +
				"which every answer carries. Fields and query parameters that the service does not know are refused, on guest channels ignored. " +
				"Every error is a problem (RFC 9457) with a kind. HEAD is answered as GET is, except of streams.",
		},
		"servers": []object{
			{"url": "/", "description": "over HTTPS, the service that this document comes from"},
			{"url": "http://mooringd", "description": "over a unix socket; the host's name means nothing"},
		},
		"paths": paths,
		"components": object{
			"schemas": s.all,
			"responses": object{"Problem": object{
				"description": "an error",
				"content": object{"application/problem+json": object{"schema": s.of(typeOf[wire.Problem]()), "example": wire.Problem{
					Title: "Not Found", Status: 404, Detail: "Vmgroup Dev does not exist", Kind: "not-found", Request: "7f3a91c2",
				}}},
			}},
			"parameters":      object{"IdempotencyKey": idempotencyKey},
			"securitySchemes": securitySchemes,
		},
	}
}

// byName brings together what is one operation to HTTP: an endpoint that
// guests and admins have each their own row for.
func byName() [][]endpoint {
	m := map[string][]endpoint{}
	for _, e := range endpoints {
		m[e.name()] = append(m[e.name()], e)
	}
	var out [][]endpoint
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[name])
	}
	return out
}

func operation(t *testing.T, s *schemas, rows []endpoint) object {
	e := rows[0]
	var audiences, permissions, summaries []string
	params := []object{}
	for i := range strings.SplitSeq(e.path, "/") {
		if name, ok := variable(i); ok {
			params = append(params, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	queries := map[string]object{}
	for _, r := range rows {
		require.Equal(t, []any{e.in, e.out, e.media, e.later}, []any{r.in, r.out, r.media, r.later}, "one operation, one form: %s", e.name())
		if r.audience == both {
			audiences = append(audiences, string(guests), string(users))
		} else {
			audiences = append(audiences, string(r.audience))
		}
		permissions = append(permissions, string(r.permission))
		if len(rows) > 1 {
			r.summary = string(r.audience) + ": " + r.summary
		}
		summaries = append(summaries, r.summary)
		for _, p := range r.query {
			queries[p.name] = object{"name": p.name, "in": "query", "description": p.summary, "schema": paramSchema(p.kind)}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(queries)) {
		params = append(params, queries[name])
	}
	if e.method == http.MethodPost && byPeople(rows) {
		params = append(params, object{"$ref": "#/components/parameters/IdempotencyKey"})
	}
	slices.Sort(permissions)
	op := object{
		"operationId":  operationID(e),
		"tags":         []string{tag(e)},
		"security":     security(rows),
		"summary":      strings.Join(summaries, "; "),
		"x-audience":   audiences,
		"x-permission": slices.Compact(permissions),
		"responses": object{
			strconv.Itoa(e.status()): goodAnswer(s, e),
			"default":                object{"$ref": "#/components/responses/Problem"},
		},
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if e.in != nil {
		body := object{"schema": s.of(e.in)}
		if example, ok := examples[e.in]; ok {
			body["example"] = example
		}
		op["requestBody"] = object{"required": true, "content": object{"application/json": body}}
	}
	return op
}

func goodAnswer(s *schemas, e endpoint) object {
	answer := object{"description": "done"}
	switch {
	case e.stream != nil && e.out == nil:
		answer["description"] = "the content; an answer that is shorter than its length, or that is cut off, is not whole"
		answer["content"] = object{e.media: object{"schema": object{"type": "string", "format": "binary"}}}
	case e.stream != nil:
		answer["description"] = "events, each with this in its data; the last one is of the end, unless the service stops"
		answer["content"] = object{e.media: object{"schema": s.of(e.out)}}
	default:
		if e.later {
			answer["description"] = "accepted; the work goes on"
		}
		if e.parted {
			answer["headers"] = object{wire.HeaderNext: object{"description": "the parameter after of the next page, absent on the last", "schema": object{"type": "string"}}}
		}
		answer["content"] = object{"application/json": object{"schema": s.of(e.out)}}
	}
	return answer
}

func paramSchema(kind string) object {
	if kind == "list" {
		return object{"type": "array", "items": object{"type": "string"}}
	}
	return object{"type": kind}
}
