package corastonetest

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// loggedError is an entry of the error log.
type loggedError struct {
	Error
	at         time.Time
	tracking   string
	code       string
	securities []string
}

// LogError logs an error of a call of the API with a documented code, and
// returns its id. tracking is the id of what it is about, an orchestration's
// as a rule; securities are those that it names.
func (l *Ledger) LogError(code, tracking string, securities ...string) string {
	r, _ := l.do(func() (Receipt, error) {
		return Receipt{ErrorID: l.log("Create Asset", "POST", "/external/v1/primary/asset", code, tracking, securities, true)}, nil
	})
	return r.ErrorID
}

// LogJob has a task be done, of which the guide shows no fields.
func (l *Ledger) LogJob(name string) {
	_, _ = l.do(func() (Receipt, error) {
		job := Job{"jobId": l.uuid(), "name": name, "timestamp": format(l.now())}
		l.sequence.add(&sequenceRow{at: l.now(), job: job})
		l.outbox = append(l.outbox, job)
		return Receipt{}, nil
	})
}

// logFailure logs why an orchestration failed.
func (l *Ledger) logFailure(o *orchestration, code string) string {
	last := l.byProcess[o.ProcessIDs[len(o.ProcessIDs)-1]].process
	verb, path := "PUT", "/external/v1/primary/"+last.Method
	switch {
	case last.Method == "createInvestment":
		verb, path = "POST", "/external/v1/primary/asset"
	case len(last.Details["assetIds"]) == 0:
		path = "/external/v1/security-admin/" + last.Method
	}
	return l.log(last.Method, verb, path, code, o.OrchestrationID, last.Details["securityIds"], !o.manner.quiet && !o.manner.hidden)
}

func (l *Ledger) log(name, verb, path, code, tracking string, securities []string, tell bool) string {
	e := &loggedError{at: l.now(), tracking: tracking, code: code, securities: securities}
	e.Error = Error{
		ErrorID: l.uuid(), Timestamp: format(l.now()),
		Action: Action{HTTPData: HTTPData{Method: verb, URL: path}, Name: name, ID: "PM0" + l.id()[:2]},
	}
	l.errors = append(l.errors, e)
	l.sequence.add(&sequenceRow{at: e.at, logged: e})
	if tell {
		l.outbox = append(l.outbox, e.Error)
	}
	return e.ErrorID
}

// row returns an entry as the error log has it, in the shape that the guide
// gives for adding some.
func (e *loggedError) row() object {
	category := object{"code": "EC006", "description": "Other Issue(s)"}
	if strings.HasPrefix(e.code, "IV") {
		category = object{"code": "EC002", "description": "Investor Information and AML/KYC Issue(s)"}
	}
	message := "The stand-in failed with a code that no message is documented of"
	if known, _ := schemas.DescribeCode(e.code); known.Message != nil {
		message = *known.Message
	}
	entities := object{}
	if len(e.securities) > 0 {
		entities["securityIds"] = e.securities
	}
	return object{
		"errorId": e.ErrorID, "timestamp": e.Timestamp, "action": e.Action, "trackingId": e.tracking,
		"inputData": object{"investorName": "Ida Beispiel"},
		"errorDetails": []any{object{
			"message": message, "type": "businessRuleValidations", "code": e.code,
			"reason": []string{"told to"}, "category": category, "context": object{"entities": entities},
		}},
	}
}

// number writes decimal text as a number of JSON, as it is.
func number(decimal string) jsontext.Value { return jsontext.Value(decimal) }

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}
