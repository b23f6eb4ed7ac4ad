package schemas

import "github.com/go-json-experiment/json/jsontext"

// Observed is what the data of all polled events have in common: they tell of
// a state that was observed, not of an action that was reported.
type Observed struct {
	Revision int64 `json:"revision" doc:"How often this entity changed since it was known; grows with every change."`
	// No pointer: null and absent mean the same here.
	ChangedBetween []string `json:"changedBetween,omitempty" doc:"Between which two observations it changed: RFC 3339. Absent when there was none before."`
	Bootstrap      bool     `json:"bootstrap,omitzero" doc:"True when this was seen in the first complete scan of its list; else absent."`
}

// Difference is one thing that is different in a document.
type Difference struct {
	Path string         `json:"path" doc:"Where: a JSON Pointer."`
	Op   string         `json:"op" doc:"What happened there: add, remove or replace."`
	Old  jsontext.Value `json:"old,omitempty" doc:"What was there; absent with add."`
	New  jsontext.Value `json:"new,omitempty" doc:"What is there; absent with remove."`
}

// Money is an amount.
type Money struct {
	Value    string `json:"value" doc:"The amount, in decimals."`
	Currency string `json:"currency,omitzero" doc:"The currency: ISO 4217. Absent when the platform didn't say it."`
}
