package corastone

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// transaction translates a transaction into an event of the entity process.
func (t *translation) transaction(n *transaction) (schemas.Event, error) {
	err := cmp.Or(required("transaction.processId", n.ProcessID), required("transaction.status", n.Status))
	if err != nil {
		return schemas.Event{}, err
	}
	data := schemas.Process{
		Platform:        Name,
		ProcessID:       n.ProcessID,
		OrchestrationID: optional(n.OrchestrationID),
		Method:          n.Method,
		NativeType:      n.Type,
		NativeStatus:    n.Status,
		OrgID:           optional(n.OrgID),
		Ledger:          t.ledger(n.BlockchainDetails),
		Affects:         n.Details.affects,
	}
	if data.Affects == nil {
		data.Affects = map[string][]string{}
	}
	at := t.time("transaction.timestamp", n.Timestamp)
	for _, name := range n.Details.unknown {
		t.strange("transaction.details", name)
	}
	t.unknown("transaction", n.Unknown)

	typ, known := processType(n.Status)
	e := newEvent(t.delivery, typ, n.ProcessID, at, data, n.ProcessID, n.Status)
	e.CorrelationID = n.OrchestrationID
	if l := data.Ledger; l != nil && l.Block != nil && l.Channel != "" {
		// Blocks are numbered within a channel.
		e.Sequence = fmt.Sprintf("%s:%016d", strings.ToLower(l.Channel), *l.Block)
	}
	t.status(&e, known, "transaction.status", n.Status)
	return e, nil
}

func processType(status string) (typ schemas.Type, known bool) {
	switch strings.ToLower(status) {
	case "queued":
		return schemas.ProcessQueued, true
	case "in_progress":
		return schemas.ProcessInProgress, true
	case "success":
		return schemas.ProcessSucceeded, true
	case "failed":
		return schemas.ProcessFailed, true
	case "timed_out":
		return schemas.ProcessTimedOut, true
	}
	return schemas.ProcessReported, false
}

// ledger returns a transaction's place on the ledger, or nil if it has none.
func (t *translation) ledger(n *blockchainDetails) *schemas.Ledger {
	if n == nil {
		return nil
	}
	t.unknown("transaction.blockchainDetails", n.Unknown)
	if n.BlockNumber.number == nil && n.ChannelName == "" && n.TransactionID == "" {
		return nil
	}
	return &schemas.Ledger{Channel: n.ChannelName, Block: n.BlockNumber.number, TransactionID: n.TransactionID}
}

// orchestration translates an orchestration.
func (t *translation) orchestration(n *orchestration) (schemas.Event, error) {
	err := cmp.Or(required("orchestration.orchestrationId", n.OrchestrationID), required("orchestration.status", n.Status))
	if err != nil {
		return schemas.Event{}, err
	}
	at := t.time("orchestration.timestamp", n.Timestamp)
	start := t.time("orchestration.startDate", n.StartDate)
	data := schemas.Orchestration{
		Platform:        Name,
		OrchestrationID: n.OrchestrationID,
		NativeStatus:    n.Status,
		StartDate:       optional(start),
		ProcessIDs:      n.ProcessIDs,
	}
	if data.ProcessIDs == nil {
		data.ProcessIDs = []string{}
	}
	t.unknown("orchestration", n.Unknown)

	typ, known := orchestrationType(n.Status)
	e := newEvent(t.delivery, typ, n.OrchestrationID, cmp.Or(at, start), data, n.OrchestrationID, n.Status)
	e.CorrelationID = n.OrchestrationID
	t.status(&e, known, "orchestration.status", n.Status)
	return e, nil
}

func orchestrationType(status string) (typ schemas.Type, known bool) {
	switch strings.ToLower(status) {
	case "queued":
		return schemas.OrchestrationQueued, true
	case "in_progress":
		return schemas.OrchestrationInProgress, true
	case "success":
		return schemas.OrchestrationSucceeded, true
	case "failed":
		return schemas.OrchestrationFailed, true
	case "dlq":
		return schemas.OrchestrationDeadLettered, true
	}
	return schemas.OrchestrationReported, false
}

// loggedError translates an entry of the error log.
func (t *translation) loggedError(n *loggedError) (schemas.Event, error) {
	if err := required("error.errorId", n.ErrorID); err != nil {
		return schemas.Event{}, err
	}
	data := schemas.LoggedError{Platform: Name, ErrorID: n.ErrorID}
	at := t.time("error.timestamp", n.Timestamp)
	if a := n.Action; a != nil {
		data.Action = &schemas.ErrorAction{ID: optional(a.ID), Name: optional(a.Name)}
		if h := a.HTTPData; h != nil {
			data.Action.Method = optional(h.Method)
			data.Action.Path = t.path(h.URL)
			t.unknown("error.action.httpData", h.Unknown)
		}
		t.unknown("error.action", a.Unknown)
	}
	t.unknown("error", n.Unknown)
	return newEvent(t.delivery, schemas.ErrorLogged, n.ErrorID, at, data, n.ErrorID), nil
}

// route matches paths that hold nothing but names and ids.
var route = regexp.MustCompile(`^/[A-Za-z0-9/_.~-]*$`)

// path returns the path of a URL. What else the URL has may be what somebody
// typed, and so may a path with other characters than those of ids: that goes
// to the twin.
func (t *translation) path(raw string) *string {
	u, err := url.Parse(raw)
	if err != nil {
		t.hidden = true
		return nil
	}
	path := u.EscapedPath()
	if path != raw {
		t.hidden = true
	}
	if !route.MatchString(path) {
		t.hidden = t.hidden || path != ""
		return nil
	}
	return &path
}

// job translates a job, of which nothing is documented: its fields are all on
// the twin, and a hash of them is its key.
func (t *translation) job(native jsontext.Value) (schemas.Event, error) {
	// Other entries say so when they were.
	var times struct {
		Timestamp moment `json:"timestamp"`
		StartDate moment `json:"startDate"`
	}
	switch native.Kind() {
	case jsontext.KindBeginArray:
	case jsontext.KindBeginObject:
		// If these are something else here, the job has no time.
		if json.Unmarshal(native, &times) != nil {
			times.Timestamp, times.StartDate = moment{}, moment{}
		}
	default:
		return schemas.Event{}, mistyped("job")
	}
	canonical := native.Clone()
	if err := canonical.Canonicalize(); err != nil { // RFC 8785
		return schemas.Event{}, invalid("job has no canonical form")
	}
	sum := sha256.Sum256(canonical)
	key := hex.EncodeToString(sum[:16])
	t.hidden = true
	at := cmp.Or(times.Timestamp.at, times.StartDate.at)
	return newEvent(t.delivery, schemas.JobReported, key, at, schemas.Job{Platform: Name}, key), nil
}
