package corastone

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Roles of what the error log says.
const (
	RoleFailure = "failure"      // why a transaction failed
	RoleDetails = "error-detail" // an entry of the log
)

// failureFact is the payload of a delivery with the role [RoleFailure] or
// [RoleDetails].
type failureFact struct {
	Cause           string           `json:"cause"`
	ProcessID       string           `json:"processId,omitempty"`
	OrchestrationID string           `json:"orchestrationId,omitempty"`
	Status          string           `json:"status,omitempty"`
	At              string           `json:"at,omitempty"`
	Transaction     jsontext.Value   `json:"transaction,omitempty"`
	Errors          []jsontext.Value `json:"errors"`
}

// logged is an entry of the error log, in the shape that the guide gives for
// creating them (Create Error Log Records).
type logged struct {
	ErrorID    string         `json:"errorId"`
	TrackingID string         `json:"trackingId"`
	Timestamp  moment         `json:"timestamp"`
	Action     *action        `json:"action"`
	Details    []detail       `json:"errorDetails"`
	Unknown    jsontext.Value `json:",embed"`
}

type detail struct {
	Code     string `json:"code"`
	Category struct {
		Code    string         `json:"code"`
		Unknown jsontext.Value `json:",embed"`
	} `json:"category"`
	Context struct {
		Entities details        `json:"entities"`
		Unknown  jsontext.Value `json:",embed"`
	} `json:"context"`
	Unknown jsontext.Value `json:",embed"`
}

// explain tells why a transaction failed, if the error log says it.
func (v *visible) explain(ctx context.Context, p process, s handlers.Scan) error {
	ids := []string{p.event.Key}
	if p.orchestrationID != "" {
		ids = append(ids, p.orchestrationID)
	}
	var rows []jsontext.Value
	err := v.client.pages(ctx, readErrorLog, url.Values{"trackingIdsFilter": {filterValue(ids)}}, 0, list, func(page []jsontext.Value) error {
		rows = append(rows, page...)
		return nil
	})
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(native jsontext.Value) bool {
		var l logged
		return json.Unmarshal(native, &l) != nil || len(codesOf(l.Details)) == 0 ||
			!slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, l.TrackingID) })
	})
	own := codesOf(recordDetails(p.native))
	if len(rows) == 0 && len(own) == 0 {
		if !p.young(s.Began(), errorsMayBe) {
			return nil // nobody has logged why
		}
		return &handlers.UpstreamError{Endpoint: readErrorLog.name, Err: errNoCodes}
	}
	return tellFact(s, RoleFailure, "failure:"+p.event.Key, failureFact{
		Cause: p.event.ID, ProcessID: p.event.Key, OrchestrationID: p.orchestrationID,
		Status: p.told.NativeStatus, At: p.event.Time, Transaction: p.native, Errors: rows,
	})
}

// recordDetails returns what a transaction's own record says of errors.
func recordDetails(native jsontext.Value) []detail {
	var record struct {
		Details []detail       `json:"errorDetails"`
		Unknown jsontext.Value `json:",embed"`
	}
	if json.Unmarshal(native, &record) != nil {
		return nil
	}
	return record.Details
}

// detailError tells what the error log says of an error.
func (v *visible) detailError(ctx context.Context, e handlers.ToldEvent, s handlers.Scan) error {
	var found jsontext.Value
	err := v.client.byIDs(ctx, readErrorLog, "errorIdsFilter", []string{e.Key}, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			var l logged
			// Entries that were asked for alone need not say their id.
			if json.Unmarshal(native, &l) == nil && (l.ErrorID == "" && len(rows) == 1 || strings.EqualFold(l.ErrorID, e.Key)) {
				found = native
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case found == nil:
		return &handlers.UpstreamError{Endpoint: readErrorLog.name, Err: errNoCodes}
	}
	return tellFact(s, RoleDetails, "error-detail:"+e.Key, failureFact{
		Cause: e.ID, ProcessID: e.Key, At: e.Time, Errors: []jsontext.Value{found},
	})
}

// codesOf returns the codes that details give, each once.
func codesOf(details []detail) []schemas.ErrorCode {
	var codes []schemas.ErrorCode
	for _, d := range details {
		code := strings.ToUpper(strings.TrimSpace(d.Code))
		if code == "" || len(code) > 32 || !identifier(strings.TrimRight(code, "0123456789")) {
			continue
		}
		if slices.ContainsFunc(codes, func(c schemas.ErrorCode) bool { return c.Code == code }) {
			continue
		}
		c, _ := schemas.DescribeCode(code)
		c.Category = optional(category(d.Category.Code))
		codes = append(codes, c)
	}
	return codes
}

// normalizeFailure translates why a transaction failed.
func normalizeFailure(d handlers.Delivery) (handlers.Output, error) {
	var f failureFact
	if err := json.Unmarshal(d.Payload, &f); err != nil || f.ProcessID == "" {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "failure is not readable")
	}
	data := schemas.Failure{
		Platform: Name, ProcessID: f.ProcessID, OrchestrationID: optional(f.OrchestrationID), NativeStatus: optional(f.Status),
		ErrorIDs: []string{},
	}
	details := recordDetails(f.Transaction)
	for _, native := range f.Errors {
		var l logged
		if json.Unmarshal(native, &l) != nil {
			return handlers.Output{}, unusable(schemas.ReasonBadJSON, "entry of the error log is not readable")
		}
		if l.ErrorID != "" {
			data.ErrorIDs = append(data.ErrorIDs, l.ErrorID)
		}
		details = append(details, l.Details...)
	}
	data.Codes = codesOf(details)
	e := newEvent(d, schemas.ProcessFailureExplained, f.ProcessID, f.At, data, f.ProcessID, "failed", "explained")
	e.CorrelationID, e.CausationID = f.OrchestrationID, f.Cause
	e.Restricted = &schemas.Restricted{Native: f.native()}
	return handlers.Output{Events: []schemas.Event{e}}, nil
}

// normalizeDetails translates an entry of the error log.
func normalizeDetails(d handlers.Delivery) (handlers.Output, error) {
	var f failureFact
	if err := json.Unmarshal(d.Payload, &f); err != nil || len(f.Errors) != 1 {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "error's details are not readable")
	}
	var l logged
	if err := json.Unmarshal(f.Errors[0], &l); err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "entry of the error log is not readable")
	}
	t := translation{delivery: d}
	data := schemas.ErrorDetails{
		Platform: Name, ErrorID: f.ProcessID, TrackingID: optional(l.TrackingID), Codes: codesOf(l.Details),
		Affects: map[string][]string{},
	}
	if data.Codes == nil {
		data.Codes = []schemas.ErrorCode{}
	}
	if a := l.Action; a != nil {
		data.Action = &schemas.ErrorAction{ID: optional(a.ID), Name: optional(a.Name)}
		if h := a.HTTPData; h != nil {
			data.Action.Method, data.Action.Path = optional(h.Method), t.path(h.URL)
		}
	}
	for _, detail := range l.Details {
		for name, ids := range detail.Context.Entities.affects {
			data.Affects[name] = union(data.Affects[name], ids)
		}
	}
	e := newEvent(d, schemas.ErrorDetailed, f.ProcessID, l.Timestamp.at, data, f.ProcessID, "detailed")
	e.CausationID = f.Cause
	e.Restricted = &schemas.Restricted{Native: f.Errors[0]}
	return handlers.Output{Events: []schemas.Event{e}}, nil
}

// native returns what the platform said.
func (f failureFact) native() jsontext.Value {
	b, err := json.Marshal(struct {
		Transaction jsontext.Value   `json:"transaction"`
		Errors      []jsontext.Value `json:"errors"`
	}{f.Transaction, f.Errors}, json.Deterministic(true), jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil
	}
	return b
}
