package corastonetest

import (
	"slices"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers/corastone"
)

// Security is an offering to be.
type Security struct {
	Name     string // "": made up
	Type     string // "": lpUnits
	Currency string // "": EUR
	// Kind is one of [corastone.WhenIssuedDirectly] and
	// [corastone.WhenDrawdown], "" for the usual way.
	Kind string
	// Contingent offerings never go back to active.
	Contingent bool
	// CorrelationID is what we call it.
	CorrelationID string
}

type security struct {
	Security
	id         string
	status     string
	restricted bool
	seen       bool // by us: we were assigned once
	created    time.Time
}

// Subscription is a digital asset to be.
type Subscription struct {
	Amount        string // decimal; "": 100000.00
	Units         string // "": 100
	Price         string // "": 1000.00
	FrontEndFee   string // "": 1500.00
	CorrelationID string // what we call it
	// Investor and Account are names, which are personal.
	Investor string // "": Ida Beispiel
	Account  string // "": Beispiel Family Account
	// Transactions is how many it takes, 1 or 2: the second is for an investor
	// who is not known yet. 0: 1.
	Transactions int
}

type asset struct {
	Subscription
	id       string
	security *security
	status   string
	before   string
	review   string
	created  time.Time
	settled  time.Time
	issued   time.Time
	number   int
	history  []historyRow
}

type assignment struct {
	security *security
	org      string
	status   string
	at       time.Time
}

// Reason is a reason for a remediation.
type Reason struct {
	Category  string // EC001 to EC006
	Message   string
	Documents []Document
}

// Document is what a reason is about.
type Document struct {
	FileID string // "": made up
	Name   string
	Pages  []Page
}

// Page is where in a document.
type Page struct {
	Number      int
	Description string
}

type comment struct {
	id      string
	assets  []string
	message string
	review  string
	reasons []Reason
	at      time.Time
	org     string
}

// historyRow is what a transaction did to an asset or an offering.
type historyRow struct {
	number      int
	id          string
	event       string
	status      string
	at          time.Time
	transaction *transaction
	update      map[string]any
}

func (l *Ledger) security(id string) *security {
	i := slices.IndexFunc(l.securities, func(s *security) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return l.securities[i]
}

func (l *Ledger) assignment(securityID, org string) *assignment {
	i := slices.IndexFunc(l.assignments, func(a *assignment) bool { return a.security.id == securityID && a.org == org })
	if i < 0 {
		return nil
	}
	return l.assignments[i]
}

// transition returns what an action does to something of an offering's kind.
func transition(table []corastone.Transition, action, kind string) corastone.Transition {
	for _, t := range table {
		if t.Action == action && (t.When == "" || t.When == kind) {
			return t
		}
	}
	panic("no transition is called " + action) // a slip of this package
}

// check refuses what the state machine of offerings doesn't allow.
func (s *security) check(t corastone.Transition) error {
	switch {
	case !slices.Contains(t.From, s.status):
		return refused(t.Refused, "Security '"+s.id+"' is in invalid state for the current action. Current status: '"+s.status+"'. Required status: '"+strings.Join(t.From, ",")+"'")
	case s.restricted && !t.Restricted:
		return s.isRestricted()
	}
	return nil
}

func (s *security) isRestricted() error {
	return refused("IS0013", "Security '"+s.id+"' is restricted")
}

// check refuses what the state machine of subscriptions doesn't allow.
func (a *asset) check(t corastone.Transition) error {
	if err := a.security.offers(t); err != nil {
		return err
	}
	if !slices.Contains(t.From, a.status) {
		return refused(t.Refused, "Asset '"+a.id+"' is in invalid state for the current action. Current status: '"+a.status+"'. Required status: '"+strings.Join(t.From, ",")+"'")
	}
	return nil
}

// offers refuses what can't be done to subscriptions of an offering.
func (s *security) offers(t corastone.Transition) error {
	switch {
	case s.restricted && !t.Restricted:
		return s.isRestricted()
	case len(t.Offering) > 0 && !slices.Contains(t.Offering, s.status):
		return refused("IS0012", "Security '"+s.id+"' is in invalid state for the current action. Current status: '"+s.status+"'. Required status: '"+strings.Join(t.Offering, ",")+"'")
	}
	return nil
}

// move takes an asset to where a transition leads, and writes its history.
func (l *Ledger) move(a *asset, t corastone.Transition, by *transaction, update map[string]any) {
	to := t.To
	switch to {
	case "":
		to = a.status
	case corastone.StatusBefore:
		to = a.before
	}
	if to != a.status {
		a.before, a.status = a.status, to
	}
	row := historyRow{number: len(l.history), id: a.id, event: t.Event, status: a.status, at: l.now(), transaction: by, update: update}
	l.history, a.history = append(l.history, row), append(a.history, row)
}

// moveSecurity is what move is for assets. The guide names no events of
// offerings: these are made up from the actions' names.
func (l *Ledger) moveSecurity(s *security, t corastone.Transition, by *transaction) {
	s.status = t.To
	event := strings.ReplaceAll(t.Action, " ", "")
	l.chronicle = append(l.chronicle, historyRow{id: s.id, event: event, status: s.status, at: l.now(), transaction: by})
}

func upper(s string) string { return strings.ToUpper(s) }
