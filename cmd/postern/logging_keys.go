package main

// logKeys are the only keys of attributes that are logged. What stands under
// another key is dropped, so that a payload can't reach a log by a slip: who
// needs a new key adds it here, and thinks about what its values hold.
var logKeys = map[string]bool{
	// Who and what it is about. Their values are ours, or ids that platforms
	// give out.
	"component": true,
	"source":    true,
	"platform":  true,
	"channel":   true,
	"role":      true,
	"stream":    true,
	"subject":   true,
	"delivery":  true,
	"event":     true,
	"type":      true,
	"poller":    true,
	"name":      true,
	"check":     true,

	// How it went.
	"outcome":     true,
	"reason":      true,
	"status":      true,
	"error":       true,
	"problem":     true,
	"detail":      true, // our own words
	"stack":       true,
	"attempt":     true,
	"retry_in":    true,
	"duration":    true,
	"signal":      true,
	"suppressed":  true,
	"conflict":    true,
	"degraded":    true,
	"recovered":   true,
	"fingerprint": true,

	// How much.
	"bytes":   true,
	"count":   true,
	"entries": true,
	"limit":   true,
	"free":    true,
	"seq":     true,
	"first":   true,
	"last":    true,
	"age":     true,

	// Where.
	"listen":     true,
	"address":    true,
	"remote":     true, // who calls
	"url":        true,
	"server":     true,
	"path":       true, // of a file, never of a request
	"file":       true,
	"method":     true,
	"request_id": true,

	// What runs.
	"version":  true,
	"revision": true,
	"go":       true,
	"sources":  true,
	"position": true, // in the configuration
	"setting":  true,
}
