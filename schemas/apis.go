package schemas

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run TestAsyncAPIIsThatOfTheTypes -update .

//go:embed asyncapi.json
var asyncAPI []byte

//go:embed openapi.json
var openAPI []byte

// AsyncAPI returns the AsyncAPI 3.0 description of what is published: a channel
// for each type on POSTERN_EVENTS, POSTERN_RESTRICTED and POSTERN_OPS, and those
// of the sealed records. Its payloads are the schemas of [JSON], as the ops
// listener serves them. It is generated from the types.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }

// OpenAPI returns the OpenAPI 3.1 description of the ops listener. It is
// generated where the listener's routes are, by go generate ./receiver/ops.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
