package concedus

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// standing is the tracked projection of what the compliance poller knows of an
// entity. It is sealed wherever it is kept.
type standing struct {
	Status  *status  `json:"status,omitempty"`  // nil: never read
	Outcome *outcome `json:"outcome,omitempty"` // nil: it was never absent, or still is asked
}

// status is a compliance status. It is the same as long as its code is.
type status struct {
	Found    bool     `json:"found"` // there is a record
	Code     int      `json:"code,omitzero"`
	Modified *moment  `json:"modified,omitempty"`
	Strange  []string `json:"strange,omitempty"` // members that are unknown
}

// outcome is what became of an absence. There is one for each.
type outcome struct {
	Absence time.Time    `json:"absence"` // since when it was absent
	Type    schemas.Type `json:"type"`
	By      string       `json:"by"`
	Owner   string       `json:"owner,omitempty"` // whose list proved it
}

// What an outcome was concluded from.
const (
	byIssuerList = "issuer_list"
	byCompliance = "compliance_status"
	byDeadline   = "deadline"
)

func (s standing) state() (jsontext.Value, error) {
	b, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, handlers.ErrIncomplete // the library's errors quote values
	}
	return b, nil
}

// decodeStanding reads what state wrote. Nothing is the zero standing.
func decodeStanding(state jsontext.Value) (standing, bool) {
	var s standing
	if state == nil {
		return s, true
	}
	return s, json.Unmarshal(state, &s) == nil
}

// buckets are the groups of the codes that are known (Get compliance records,
// Status codes).
var buckets = map[int]string{
	100: "released",
	200: "waiting",
	300: rejected, 301: rejected, 302: rejected, 303: rejected,
	400: "inquiry", 401: "inquiry", 402: "inquiry", 403: "inquiry",
	500: "payment", 501: "payment", 502: "payment", 503: "payment",
	600: "dunning", 601: "dunning", 602: "dunning",
	700: "cancellation", 701: "cancellation", 702: "cancellation",
	800: "data_change", 801: "data_change", 802: "data_change",
}

const (
	rejected    = "rejected"
	otherBucket = "other" // codes that nobody knows
)

// bucket returns the group of a status, nil if there is no record. A code of
// which only the group is known to be grave is in that group all the same: it
// must be as well hidden as the others.
func (s *status) bucket() *string {
	if s == nil || !s.Found {
		return nil
	}
	b, ok := buckets[s.Code]
	switch {
	case ok:
	case s.grave():
		b = rejected
	default:
		b = otherBucket
	}
	return &b
}

// grave reports whether the code may be told to few only: it can say that there
// is a suspicion of money laundering or fraud.
func (s *status) grave() bool { return s.Code/100 == 3 }

// known reports whether the code is one that is documented.
func (s *status) known() bool {
	_, ok := buckets[s.Code]
	return ok || !s.Found
}

// same reports whether two statuses say the same, whenever they were modified.
func (s *status) same(other *status) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.Found == other.Found && s.Code == other.Code
}

// record is a compliance record. What is not used is not read: notes are
// written for people, about people.
type record struct {
	Status      text           `json:"status"`
	Modified    text           `json:"modified"`
	Key         unread         `json:"key"`
	CustomerKey unread         `json:"customerKey"`
	ContractKey unread         `json:"contractKey"`
	Notes       unread         `json:"notes"`
	Unknown     jsontext.Value `json:",embed"`
}

// readStatus reads the answer to the question for a contract's compliance
// status: a record, a list of one, or that there is none yet.
func readStatus(answer handlers.Answer) (status, error) {
	body, _ := repair(answer.Body)
	if answer.Code == http.StatusNotFound {
		if v := jsontext.Value(body); !v.IsValid(tolerant) || v.Kind() != jsontext.KindBeginObject {
			// It is not the API that says so.
			return status{}, &handlers.UpstreamError{Endpoint: endpointStatus, Code: answer.Code, Err: handlers.ErrNotJSON}
		}
		return status{}, nil
	}
	if v := jsontext.Value(body); v.Kind() == jsontext.KindBeginArray {
		var list []jsontext.Value
		if err := json.Unmarshal(body, &list, tolerant); err != nil || len(list) != 1 {
			return status{}, incomplete(answer, err)
		}
		body = list[0]
	}
	var r record
	if err := json.Unmarshal(body, &r, tolerant); err != nil {
		return status{}, incomplete(answer, err)
	}
	code, err := strconv.ParseUint(r.Status.value, 10, 16)
	if err != nil {
		return status{}, incomplete(answer, nil)
	}
	s := status{Found: true, Code: int(code), Modified: r.Modified.moment(), Strange: namesOf(r.Unknown)}
	s.Strange = s.Strange[:min(len(s.Strange), maxStrange)]
	return s, nil
}

func incomplete(answer handlers.Answer, err error) error {
	var wrong *json.SemanticError
	if err != nil && !errors.As(err, &wrong) {
		return &handlers.UpstreamError{Endpoint: endpointStatus, Code: answer.Code, Err: handlers.ErrNotJSON}
	}
	return &handlers.UpstreamError{Endpoint: endpointStatus, Code: answer.Code, Err: handlers.ErrIncomplete}
}
