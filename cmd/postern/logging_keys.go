package main

// logKeys are the only keys of attributes that are logged. What stands under
// another key is dropped, so that a payload can't reach a log by a slip: who
// needs a new key adds it here, and thinks about what its values hold.
var logKeys = map[string]bool{
	// Who and what it is about: our own words, and ids that platforms give.
	"component": true,
	"source":    true,
	"platform":  true,
	"channel":   true,
	"stream":    true,
	"delivery":  true,
	"event":     true,
	"actor":     true, // the name of an operator's token
	"target":    true, // what an operator did something to: a name or an id

	// How it went.
	"outcome":     true,
	"reason":      true,
	"status":      true,
	"error":       true, // says fields and rules, not values
	"problem":     true,
	"detail":      true, // of the configuration
	"difference":  true, // between a stream and the configuration
	"changes":     true, // made to a stream's limits
	"needed":      true, // version of a server
	"line":        true, // of the NATS server's log, without what clients say
	"stack":       true,
	"attempt":     true,
	"retry_in":    true,
	"duration":    true,
	"signal":      true,
	"suppressed":  true,
	"fingerprint": true, // of a key

	// How much.
	"bytes":   true,
	"count":   true,
	"entries": true,
	"seq":     true,

	// Where.
	"address":    true, // of ours
	"remote":     true, // who calls
	"server":     true,
	"file":       true,
	"path":       true, // of a file, never of a request
	"position":   true, // in the configuration
	"setting":    true, // of it: its keys
	"request_id": true,

	// What runs.
	"version":  true,
	"revision": true,
	"go":       true,
	"sources":  true,
}
