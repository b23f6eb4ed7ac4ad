package schemas

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Data is the part of an event that depends on its type. Optional values are
// pointers: null means that the platform didn't say. The doc tags are the
// descriptions in the JSON Schemas.
type Data interface {
	// Facets lists what two tellings of the same fact are compared by.
	Facets() Facets
}

// Process is a transaction on a platform. Its key is the processId.
type Process struct {
	Platform        string              `json:"platform" validate:"required" doc:"The platform that executed it."`
	ProcessID       string              `json:"processId" validate:"required,max=200" doc:"The transaction's id."`
	OrchestrationID *string             `json:"orchestrationId" doc:"The sequence of transactions that it is part of."`
	Method          string              `json:"method" doc:"What was executed, in the platform's words."`
	NativeType      string              `json:"nativeType" doc:"The platform's kind of transaction."`
	NativeStatus    string              `json:"nativeStatus" validate:"required,max=200" doc:"The status, in the platform's word."`
	OrgID           *string             `json:"orgId" doc:"The organisation that executed it."`
	Ledger          *Ledger             `json:"ledger" doc:"Its place on the ledger."`
	Affects         map[string][]string `json:"affects" validate:"required" doc:"The ids of what it touched, by the platform's name of the list: assetIds, securityIds and others."`
	Added           []string            `json:"added,omitempty" doc:"What this telling said for the first time; only in process.details_added."`
}

// Facets compares the method, the status and the place on the ledger; the
// orchestration, the organisation and the affected ids may come later.
func (p Process) Facets() Facets {
	f := Facets{}
	f.core("method", p.Method)
	f.core("status", strings.ToLower(p.NativeStatus))
	if p.Ledger != nil {
		f.core("channel", strings.ToLower(p.Ledger.Channel))
		f.core("transaction", p.Ledger.TransactionID)
	}
	f.detail("orchestrationId", deref(p.OrchestrationID))
	f.detail("orgId", deref(p.OrgID))
	p.affected(f)
	return f
}

// ownFacets is how many lists of affected ids are compared one by one.
const ownFacets = 24

// affected adds a facet for each list of affected ids. The lists' names are
// the platform's: those that a header can't carry as they are, and those
// beyond the usual few, share one facet, as a message with more than 64 KiB of
// headers can't be published.
func (p Process) affected(f Facets) {
	var rest []string
	for i, name := range slices.Sorted(maps.Keys(p.Affects)) {
		ids := joined(slices.Sorted(slices.Values(p.Affects[name])))
		switch {
		case ids == "":
		case i < ownFacets && len(name) <= 64 && Token(name) == name:
			f.detail("affects:"+name, ids)
		default:
			rest = append(rest, name, ids)
		}
	}
	f.detail("affects", joined(rest))
}

// Ledger is a transaction's place on a ledger. Block is null when only the
// other two are known.
type Ledger struct {
	Channel       string `json:"channel" doc:"The ledger's channel."`
	Block         *int64 `json:"block" validate:"omitempty,min=0" doc:"The number of the block."`
	TransactionID string `json:"transactionId" doc:"The id of the ledger's transaction."`
}

// Orchestration is a sequence of transactions. Its key is the orchestrationId.
type Orchestration struct {
	Platform        string   `json:"platform" validate:"required" doc:"The platform that executes it."`
	OrchestrationID string   `json:"orchestrationId" validate:"required,max=200" doc:"The sequence's id."`
	NativeStatus    string   `json:"nativeStatus" validate:"required,max=200" doc:"The status, in the platform's word."`
	StartDate       *string  `json:"startDate" doc:"When it started: RFC 3339."`
	ProcessIDs      []string `json:"processIds" validate:"required" doc:"Its transactions, in the platform's order."`
}

// Facets compares the status.
func (o Orchestration) Facets() Facets {
	f := Facets{}
	f.core("status", strings.ToLower(o.NativeStatus))
	f.detail("processIds", joined(o.ProcessIDs))
	return f
}

// LoggedError is an entry of a platform's error log. Its key is the errorId.
type LoggedError struct {
	Platform string       `json:"platform" validate:"required" doc:"The platform that logged it."`
	ErrorID  string       `json:"errorId" validate:"required,max=200" doc:"The error's id."`
	Action   *ErrorAction `json:"action" doc:"What somebody tried to do."`
}

// ErrorAction is what somebody tried to do. Its path has no query: that may
// hold what somebody typed.
type ErrorAction struct {
	ID     *string `json:"id" doc:"The action's id."`
	Name   *string `json:"name" doc:"The action's name."`
	Method *string `json:"method" doc:"The HTTP method."`
	Path   *string `json:"path" doc:"The path that was called, without its query."`
}

// Facets compares the action.
func (e LoggedError) Facets() Facets {
	f := Facets{}
	if e.Action != nil {
		f.core("method", deref(e.Action.ID))
	}
	return f
}

// Job is a task that a platform performed. Platforms don't document its
// fields, so they are all on the restricted twin, under native. Its key is a
// hash of its canonical JSON.
type Job struct {
	Platform string `json:"platform" validate:"required" doc:"The platform that performed it; all else is on the restricted twin, under native."`
}

// Facets is empty: a job's id is a hash of all that was said.
func (Job) Facets() Facets { return Facets{} }

// Subscription is the data of events about a push subscription.
type Subscription struct {
	Platform string  `json:"platform" validate:"required" doc:"The platform that pushes."`
	Topic    string  `json:"topic" validate:"required" doc:"The topic that is subscribed to."`
	Deadline *string `json:"deadline" doc:"When a waiting confirmation lapses: RFC 3339."`
}

// Facets is empty: there is nothing to compare.
func (Subscription) Facets() Facets { return Facets{} }

// Conflict is the data of an event about two tellings that disagree.
type Conflict struct {
	Platform string   `json:"platform" validate:"required" doc:"The platform that told both."`
	Event    *string  `json:"event" doc:"The id of the event that was told; null when the tellings share only a transport id."`
	Fields   []string `json:"fields" validate:"required" doc:"What differs; content when a transport id came again with other signed content."`
}

// Facets is empty: there is nothing to compare.
func (Conflict) Facets() Facets { return Facets{} }

// Drift is the data of an event about something that the vocabulary doesn't
// know.
type Drift struct {
	Platform string  `json:"platform" validate:"required" doc:"The platform that said it."`
	Path     string  `json:"path" validate:"required,max=200" doc:"Where, in the platform's own names, with dots between them."`
	Value    *string `json:"value" doc:"The unknown value of a known field; null for an unknown field, whose values may be anything."`
}

// Facets is empty: there is nothing to compare.
func (Drift) Facets() Facets { return Facets{} }

// Rejection is the data of an event about pushes that were refused.
type Rejection struct {
	Platform string `json:"platform" validate:"required" doc:"The platform that was to push."`
	Reason   string `json:"reason" validate:"required" doc:"What was wrong: topic, signature, certificate, header, unverifiable or size."`
	Count    int64  `json:"count" validate:"min=1" doc:"How many were refused for this reason since it was told last."`
}

// Facets is empty: receivers count for themselves.
func (Rejection) Facets() Facets { return Facets{} }

// Action is the data of an event about what an operator did.
type Action struct {
	Actor   string  `json:"actor" validate:"required,max=200" doc:"Who did it: the name of the token that was shown; without one SIGHUP, files or local."`
	Target  *string `json:"target" validate:"omitempty,max=200" doc:"What it was done to; null when that is the receiver as a whole."`
	Outcome *string `json:"outcome" validate:"omitempty,max=200" doc:"What came of it; null when there is only one possibility."`
}

// Facets is empty: every action has an id of its own.
func (Action) Facets() Facets { return Facets{} }

// Facets maps the names of compared fields to short hashes of their values.
// It holds only what a telling said: a field that is absent can neither
// disagree nor add.
type Facets map[string]string

// coreFields are those on which two tellings must agree.
var coreFields = []string{"method", "status", "channel", "transaction"}

func (f Facets) core(name, value string) { f.detail(name, value) }
func (f Facets) detail(name, value string) {
	if value != "" {
		sum := sha256.Sum256([]byte(value))
		f[name] = base64.RawURLEncoding.EncodeToString(sum[:6])
	}
}

// Compare returns the core fields in which a later telling disagrees with f,
// and the other fields that it adds or says anew. Both are sorted.
func (f Facets) Compare(later Facets) (conflicts, added []string) {
	for name, hash := range later {
		told, ok := f[name]
		switch {
		case ok && told == hash:
		case ok && slices.Contains(coreFields, name):
			conflicts = append(conflicts, name)
		default:
			added = append(added, strings.ReplaceAll(name, ":", "."))
		}
	}
	slices.Sort(conflicts)
	slices.Sort(added)
	return conflicts, added
}

// String writes f for a header: "channel=AbCdEfGh;status=…", sorted by name.
func (f Facets) String() string {
	parts := make([]string, 0, len(f))
	for name, hash := range f {
		parts = append(parts, name+"="+hash)
	}
	slices.Sort(parts)
	return strings.Join(parts, ";")
}

// ParseFacets reads what [Facets.String] wrote. Parts it can't read are left
// out: a telling that lacks a field neither disagrees nor adds.
func ParseFacets(s string) Facets {
	f := Facets{}
	for part := range strings.SplitSeq(s, ";") {
		if name, hash, ok := strings.Cut(part, "="); ok {
			f[name] = hash
		}
	}
	return f
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// joined makes one text of a list such that no two lists make the same.
func joined(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	return b.String()
}
