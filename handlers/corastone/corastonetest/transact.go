package corastonetest

import (
	"net/http"
	"slices"
	"time"
)

// RefusedError is what the platform answers to an action that can't be.
type RefusedError struct {
	Status  int // of HTTP
	Code    string
	Message string
}

// Error returns the code and the message.
func (e *RefusedError) Error() string { return e.Code + ": " + e.Message }

// refused returns an error with the status that the guide gives its code.
func refused(code, message string) *RefusedError {
	status := http.StatusConflict
	switch code {
	case "GN0002", "GN0004", "GN0005":
		status = http.StatusBadRequest
	case "AU0001", "AU0003":
		status = http.StatusUnauthorized
	case "AU0002", "IS0099":
		status = http.StatusForbidden
	case "IS0009", "AS0001", "EX0001":
		status = http.StatusNotFound
	}
	return &RefusedError{Status: status, Code: code, Message: message}
}

// Receipt is what an action is answered.
type Receipt struct {
	OrchestrationID string
	ProcessIDs      []string // in order of execution
	AssetID         string   // of a subscription that was created
	ErrorID         string   // of what was logged, when it failed
}

// How is how an action goes: without any it succeeds at once, seen by us and
// told.
type How func(*manner)

type manner struct {
	status string // of the transaction that fails, "" if none does
	first  bool   // the first one, else the last
	code   string
	held   bool
	hidden bool
	quiet  bool
	awaits *security // hidden until we are assigned to it
}

func mannerOf(how []How) manner {
	var m manner
	for _, h := range how {
		h(&m)
	}
	return m
}

// Fails has the last transaction of an action fail with a documented code.
func Fails(code string) How {
	return func(m *manner) { m.status, m.code = "failed", code }
}

// FailsFirst has the first transaction of an action fail, and with it all that
// follow.
func FailsFirst(code string) How {
	return func(m *manner) { m.status, m.code, m.first = "failed", code, true }
}

// TimesOut has the last transaction of an action time out. Nothing is logged.
func TimesOut() How { return func(m *manner) { m.status = "timed_out" } }

// Held leaves an action in progress until [Ledger.Finish] or
// [Ledger.FailOrchestration].
func Held() How { return func(m *manner) { m.held = true } }

// Hidden has an action be one that we are not entitled to see until
// [Ledger.Grant].
func Hidden() How { return func(m *manner) { m.hidden = true } }

// Quiet has nobody be told of an action; the Sequencer has it all the same.
func Quiet() How { return func(m *manner) { m.quiet = true } }

type transaction struct {
	process   Process
	number    int
	began     time.Time
	grantedBy string
	hidden    bool
	quiet     bool
	awaits    *security
	commit    func(*transaction) error
	undo      func()
}

// row returns a transaction as the Sequencer has it. There the channel is
// written otherwise than in pushes.
func (t *transaction) row() Process {
	p := t.process
	if p.BlockchainDetails != nil {
		place := *p.BlockchainDetails
		place.ChannelName = upper(place.ChannelName)
		p.BlockchainDetails = &place
	}
	return p
}

// push returns a transaction as a push has it: with less.
func (t *transaction) push() Process {
	p := t.process
	p.OrchestrationID, p.OrgID = "", ""
	if len(p.Details["assetIds"]) > 0 {
		p.Details = map[string][]string{"assetIds": p.Details["assetIds"]}
	}
	return p
}

type orchestration struct {
	Orchestration
	began  time.Time
	ended  time.Time
	manner manner
	source string
}

// act is a transaction to be.
type act struct {
	method  string
	org     string
	details map[string][]string
	commit  func(*transaction) error
	undo    func() // when it fails; may be nil
}

// run begins an orchestration, and ends it unless it is held.
func (l *Ledger) run(m manner, acts ...act) (Receipt, error) {
	now := l.now()
	o := &orchestration{began: now, manner: m}
	o.OrchestrationID, o.StartDate, o.Status = l.uuid(), format(now), "queued"
	for _, a := range acts {
		t := &transaction{number: len(l.transactions), began: now, hidden: m.hidden, quiet: m.quiet, awaits: m.awaits, commit: a.commit, undo: a.undo}
		t.process = Process{
			ProcessID: l.uuid(), Status: "queued", Type: "issuance", Method: a.method, Timestamp: format(now),
			OrchestrationID: o.OrchestrationID, OrgID: a.org, Details: a.details,
		}
		l.transactions = append(l.transactions, t)
		l.byProcess[t.process.ProcessID] = t
		o.ProcessIDs = append(o.ProcessIDs, t.process.ProcessID)
		l.sequence.add(&sequenceRow{at: now, transaction: t})
		l.tell(t, true)
	}
	o.source = o.ProcessIDs[0]
	l.orchestrations = append(l.orchestrations, o)
	l.sequence.add(&sequenceRow{at: now, orchestration: o})
	o.Status = "in_progress"
	first := l.byProcess[o.ProcessIDs[0]]
	first.process.Status = "in_progress"
	l.tell(first, true)
	if m.held {
		return Receipt{OrchestrationID: o.OrchestrationID, ProcessIDs: slices.Clone(o.ProcessIDs)}, nil
	}
	return l.finish(o), nil
}

// finish ends an orchestration as its manner says.
func (l *Ledger) finish(o *orchestration) Receipt {
	r := Receipt{OrchestrationID: o.OrchestrationID, ProcessIDs: slices.Clone(o.ProcessIDs)}
	status, code := "", o.manner.code
	for i, id := range o.ProcessIDs {
		t := l.byProcess[id]
		switch {
		case status != "": // one before it failed
			status = "failed"
		case o.manner.status != "" && (o.manner.first || i == len(o.ProcessIDs)-1):
			status = o.manner.status
		default:
			t.process.BlockchainDetails = l.place()
			if err := t.commit(t); err != nil {
				status, code, t.process.BlockchainDetails = "failed", codeOf(err), nil
			}
		}
		if t.process.Status == "queued" && status == "" {
			t.process.Status = "in_progress"
			l.tell(t, true)
		}
		if status == "" {
			t.process.Status = "success"
		} else {
			t.process.Status = status
			if t.undo != nil {
				t.undo()
			}
		}
		l.tell(t, false)
	}
	o.ended = l.now()
	o.Timestamp, o.Status = format(o.ended), "success"
	if status != "" {
		o.Status = "failed"
	}
	l.sequence.move(o)
	if !o.manner.hidden && !o.manner.quiet {
		l.outbox = append(l.outbox, o.Orchestration)
	}
	if status != "" && code != "" {
		r.ErrorID = l.logFailure(o, code)
	}
	return r
}

func codeOf(err error) string {
	if r, ok := err.(*RefusedError); ok { //nolint:errorlint // commits return nothing else
		return r.Code
	}
	return ""
}

// tell notifies of a transaction.
func (l *Ledger) tell(t *transaction, interim bool) {
	if t.hidden || t.quiet || interim && !l.options.Interim {
		return
	}
	l.outbox = append(l.outbox, t.push())
}

// Finish ends an action that was [Held] as it was meant to end.
func (l *Ledger) Finish(orchestrationID string) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		o, err := l.held(orchestrationID)
		if err != nil {
			return Receipt{}, err
		}
		return l.finish(o), nil
	})
}

// FailOrchestration ends an action that was [Held]: its first transaction
// fails with a documented code, and so do all that follow.
func (l *Ledger) FailOrchestration(orchestrationID, code string) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		o, err := l.held(orchestrationID)
		if err != nil {
			return Receipt{}, err
		}
		FailsFirst(code)(&o.manner)
		return l.finish(o), nil
	})
}

func (l *Ledger) held(id string) (*orchestration, error) {
	i := slices.IndexFunc(l.orchestrations, func(o *orchestration) bool { return o.OrchestrationID == id })
	if i < 0 || !l.orchestrations[i].ended.IsZero() {
		return nil, refused("GN0002", "no such orchestration is in progress")
	}
	return l.orchestrations[i], nil
}

// grant is an entitlement to see a transaction that came later than it.
type grant struct {
	processID string
	at        time.Time
}

// Grant entitles us to see transactions that were [Hidden], and the history
// that they made. by is the transaction that did it, "" if it is not known.
// Nothing is pushed: the Sequencer lists them as entitlements that were
// granted.
func (l *Ledger) Grant(by string, processIDs ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range processIDs {
		t := l.byProcess[id]
		if t == nil || !t.hidden {
			return refused("GN0002", "no such transaction is hidden")
		}
		t.hidden, t.grantedBy = false, by
		l.granted = append(l.granted, grant{id, l.now()})
	}
	return nil
}
