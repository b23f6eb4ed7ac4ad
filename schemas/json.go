package schemas

import (
	"embed"
	"io/fs"
)

//go:generate go test -run TestJSONSchemasAreThoseOfTheTypes -update .

//go:embed json/*.json
var jsonFiles embed.FS

// JSON returns the JSON Schemas (draft 2020-12) of the events' bodies, a file
// for each type: "process.succeeded.v1.json". Fields may be added to a type, so
// they allow more than they name. They are generated from the types.
func JSON() fs.FS {
	files, err := fs.Sub(jsonFiles, "json")
	if err != nil {
		panic(err) // the name above is none
	}
	return files
}
