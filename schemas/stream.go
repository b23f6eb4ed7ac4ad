package schemas

import "time"

// StreamState is what a stream holds. Sequences go back only when a stream was
// made anew or lost what it had acknowledged.
type StreamState struct {
	Created time.Time
	First   uint64 // sequence of the oldest message; Last+1 if there is none
	Last    uint64 // sequence of the newest message there ever was

	Messages uint64
	Bytes    uint64
	MaxBytes int64 // -1: no limit
}

// Heading is what a message's headers say: enough to know whether a fact was
// told, and whether a later telling agrees.
type Heading struct {
	ID     string
	Facets string // as [Facets.String] wrote it, or ""
	Seq    uint64
}
