package corastone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// ViewGranted is the view of entries that we were entitled to see only later.
const ViewGranted = "granted"

// forget is how long a transaction that doesn't end is asked for.
const forget = 7 * 24 * time.Hour

// sequencer reads the ordered feed of what the node notifies of (Event
// retrieval, Get Sequence Data), and hands its rows on as pushes do.
type sequencer struct {
	client   *client
	interval time.Duration
	overlap  time.Duration
	// from is where it begins; zero: when it is started first.
	from time.Time
}

// mark is how far the sequencer was read.
type mark struct {
	// Start is where it began, and Read up to where it was told, by the
	// platform's clock: the next read begins earlier than that, by the overlap,
	// but never before Start.
	Start time.Time `json:"start"`
	Read  time.Time `json:"read"`
	// Open are transactions that are asked for by their ids.
	Open []pending `json:"open,omitempty"`
	// Granted are entitlements that were heard of.
	Granted []string `json:"granted,omitempty"`
}

// pending is a transaction that had not ended, or that we were granted to see.
type pending struct {
	ProcessID string    `json:"processId"`
	Since     time.Time `json:"since"`
	Granted   bool      `json:"granted,omitempty"`
}

// scan implements the Scan of [handlers.Poller]. The mark moves only after all
// pages were read, and the end of what is read is fixed before the first: half
// an interval back, so that a push has its chance. It never moves beyond what
// the platform's clock says, nor does one that is beyond ours keep anything from
// being read: our clock may have been wrong. What is read twice is told once.
func (q *sequencer) scan(ctx context.Context, s handlers.Scan) error {
	m, err := q.mark(ctx, s)
	if err != nil {
		return err
	}
	to := s.Began().Add(-q.interval / 2)
	from := q.begin(m, s.Began())
	if !to.After(from) {
		return s.Advance(m.encode())
	}
	p := &pass{began: s.Began(), tell: s.Tell}
	if err := q.read(ctx, from, to, p); err != nil {
		return err
	}
	m.settle(p)
	if err := q.ask(ctx, m, p); err != nil {
		return err
	}
	q.move(m, to, p.clock(), s.Began())
	return s.Advance(m.encode())
}

// begin returns where a read begins.
func (q *sequencer) begin(m *mark, began time.Time) time.Time {
	read, start := m.Read, m.Start
	if read.After(began) {
		read = began
	}
	if start.After(began) && !start.Equal(q.from) {
		start = read.Add(-q.overlap) // our clock was ahead when it was noted
	}
	if from := read.Add(-q.overlap); from.After(start) {
		return from
	}
	return start
}

// move moves the mark to where was read, as far as the platform's clock had
// come. If that isn't known the mark stays, unless it is beyond our own clock.
func (q *sequencer) move(m *mark, to, clock, began time.Time) {
	switch {
	case clock.IsZero():
		to = m.Read
		if to.After(began) {
			to = began
		}
	case clock.Before(to):
		to = clock
	}
	if !clock.IsZero() && m.Start.After(clock) && !m.Start.Equal(q.from) {
		m.Start = m.Start.Add(clock.Sub(began)) // our clock is ahead, or was
	}
	m.Read = to
}

// mark returns how far it is.
func (q *sequencer) mark(ctx context.Context, s handlers.Scan) (*mark, error) {
	cursor, err := s.Cursor(ctx)
	if err != nil {
		return nil, err
	}
	m := &mark{Start: q.from}
	if cursor != nil {
		if err := json.Unmarshal(cursor, m); err == nil && !m.Start.IsZero() {
			return m, nil
		}
		*m = mark{Start: q.from} // of another version: the index knows what was told
	}
	if m.Start.IsZero() {
		m.Start = s.Began()
	}
	m.Read = m.Start
	return m, nil
}

func (m *mark) encode() jsontext.Value {
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		panic(err) // times and texts
	}
	return b
}

// settle notes what a pass left open, and what it ended.
func (m *mark) settle(p *pass) {
	m.Open = slices.DeleteFunc(m.Open, func(o pending) bool { return p.ended[o.ProcessID] || p.began.Sub(o.Since) > forget })
	add := func(id string, granted bool) {
		if !p.ended[id] && !slices.ContainsFunc(m.Open, func(o pending) bool { return o.ProcessID == id }) {
			m.Open = append(m.Open, pending{ProcessID: id, Since: p.began, Granted: granted})
		}
	}
	for _, id := range p.open {
		add(id, false)
	}
	for _, id := range p.granted {
		if !slices.Contains(m.Granted, id) {
			delete(p.ended, id) // ended or not, we have not heard of it as granted
			add(id, true)
		}
	}
	m.Granted = p.granted
}

// ask asks for what is open by its ids, and tells what it says.
func (q *sequencer) ask(ctx context.Context, m *mark, p *pass) error {
	granted := map[string]bool{}
	var ids []string
	for _, o := range m.Open {
		ids = append(ids, o.ProcessID)
		granted[o.ProcessID] = o.Granted
	}
	err := q.client.byIDs(ctx, readTransactions, "processIdsFilter", ids, nil, func(rows []jsontext.Value) error {
		for _, row := range rows {
			if err := p.transaction(row, granted); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.Open = slices.DeleteFunc(m.Open, func(o pending) bool { return p.ended[o.ProcessID] })
	return nil
}

// read reads a span of time.
func (q *sequencer) read(ctx context.Context, from, to time.Time, p *pass) error {
	query := url.Values{"fromDate": {schemas.FormatTime(from)}, "toDate": {schemas.FormatTime(to)}}
	page := func(a handlers.Answer) ([]jsontext.Value, error) {
		var answer struct {
			Sequence *[]jsontext.Value `json:"sequence"`
			Granted  []struct {
				ProcessID string         `json:"processId"`
				Unknown   jsontext.Value `json:",embed"`
			} `json:"grantedTxnEntitlements"`
		}
		if date, err := http.ParseTime(a.Header.Get("Date")); err == nil {
			p.date = date
		}
		if err := json.Unmarshal(a.Body, &answer); err != nil {
			return nil, handlers.ErrNotJSON
		}
		if answer.Sequence == nil {
			return nil, handlers.ErrIncomplete
		}
		for _, g := range answer.Granted {
			if g.ProcessID != "" && !slices.Contains(p.granted, g.ProcessID) {
				p.granted = append(p.granted, g.ProcessID)
			}
		}
		return *answer.Sequence, nil
	}
	return q.client.pages(ctx, readSequencer, query, 0, page, func(rows []jsontext.Value) error {
		for _, row := range rows {
			if err := p.row(row, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

// history implements [handlers.History].
func (q *sequencer) history(ctx context.Context, from, to time.Time, fn func(handlers.Fact) error) error {
	p := &pass{began: to, tell: fn}
	if err := q.read(ctx, from, to, p); err != nil {
		return err
	}
	m := &mark{}
	m.settle(p)
	return q.ask(ctx, m, p)
}

// pass is one reading of a span of time.
type pass struct {
	began   time.Time
	tell    func(handlers.Fact) error
	open    []string        // transactions that had not ended
	ended   map[string]bool // and those that had
	granted []string
	// What the platform's clock showed: when it answered last, and when the
	// newest of its rows is of. Zero if it doesn't say.
	date, newest time.Time
}

// clock returns what the platform's clock showed, zero if nobody knows.
func (p *pass) clock() time.Time {
	if !p.date.IsZero() {
		return p.date
	}
	return p.newest
}

// dated notes what a row is dated.
func (p *pass) dated(native jsontext.Value) {
	at, _ := handlers.Time(scalar(native))
	if t, err := time.Parse(time.RFC3339, at); err == nil && t.After(p.newest) {
		p.newest = t
	}
}

// row tells an entry.
func (p *pass) row(row jsontext.Value, view string) error {
	var e struct {
		Transaction *struct {
			ProcessID string         `json:"processId"`
			Status    string         `json:"status"`
			Timestamp jsontext.Value `json:"timestamp"`
			Unknown   jsontext.Value `json:",embed"`
		} `json:"transaction"`
		Orchestration *struct {
			ID        string         `json:"orchestrationId"`
			Status    string         `json:"status"`
			Timestamp jsontext.Value `json:"timestamp"`
			Unknown   jsontext.Value `json:",embed"`
		} `json:"orchestration"`
		Error *struct {
			ID        string         `json:"errorId"`
			Timestamp jsontext.Value `json:"timestamp"`
			Unknown   jsontext.Value `json:",embed"`
		} `json:"error"`
		Unknown jsontext.Value `json:",embed"`
	}
	name := "other"
	if err := json.Unmarshal(row, &e); err == nil { // else quarantine says what it is
		switch {
		case e.Transaction != nil:
			name = "transaction:" + e.Transaction.ProcessID + ":" + e.Transaction.Status
			p.dated(e.Transaction.Timestamp)
			p.note(e.Transaction.ProcessID, e.Transaction.Status)
		case e.Orchestration != nil:
			p.dated(e.Orchestration.Timestamp)
			name = "orchestration:" + e.Orchestration.ID + ":" + e.Orchestration.Status
		case e.Error != nil:
			p.dated(e.Error.Timestamp)
			name = "error:" + e.Error.ID
		}
	}
	canonical := row.Clone()
	if err := canonical.Canonicalize(); err != nil {
		canonical = row
	}
	content := sha256.Sum256(canonical)
	return p.tell(handlers.Fact{
		Role:        RoleEntry,
		View:        view,
		TransportID: "sequencer:" + name + ":" + hex.EncodeToString(content[:]),
		Content:     content,
		Payload:     row,
	})
}

// note remembers whether a transaction has ended.
func (p *pass) note(processID, status string) {
	if processID == "" {
		return
	}
	switch strings.ToLower(status) {
	case "queued", "in_progress":
		if !slices.Contains(p.open, processID) {
			p.open = append(p.open, processID)
		}
	default:
		if p.ended == nil {
			p.ended = map[string]bool{}
		}
		p.ended[processID] = true
	}
}

// transaction tells a row of the transactions that were asked for by id. It is
// told as the entry that it would be.
func (p *pass) transaction(row jsontext.Value, granted map[string]bool) error {
	var t struct {
		ProcessID string         `json:"processId"`
		Unknown   jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(row, &t); err != nil || t.ProcessID == "" {
		return &handlers.UpstreamError{Endpoint: readTransactions.name, Err: handlers.ErrIncomplete}
	}
	view := ""
	if granted[t.ProcessID] {
		view = ViewGranted
	}
	return p.row(slices.Concat(jsontext.Value(`{"transaction":`), row, jsontext.Value(`}`)), view)
}
