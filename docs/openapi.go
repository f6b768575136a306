// Package docs holds what the program itself shows of its documents; its tests
// are that the documents are true to the program as far as a program can tell:
// links, names of keys, settings, commands and flags.
package docs

import _ "embed"

// OpenAPI is the description of the HTTP interface, as JSON.
//
//go:embed openapi.json
var OpenAPI []byte
