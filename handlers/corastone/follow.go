package corastone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// followed are the events whose meaning is asked for.
var followed = []schemas.Type{
	schemas.ProcessSucceeded, schemas.ProcessFailed, schemas.ProcessTimedOut, schemas.ProcessDetailsAdded,
	schemas.ErrorLogged,
}

// How long after a process it is asked for what may never come: not every
// failure has an entry in the error log, and not every comment is for us.
const (
	errorsMayBe   = 30 * time.Minute
	commentsMayBe = 10 * time.Minute
)

// What an answer can lack.
var (
	errNoTransaction = fmt.Errorf("%w: the transaction isn't there", handlers.ErrIncomplete)
	errNoSteps       = fmt.Errorf("%w: the history has no step of some of the assets", handlers.ErrIncomplete)
	errNoDetails     = fmt.Errorf("%w: some of what was touched isn't there", handlers.ErrIncomplete)
	errNoCodes       = fmt.Errorf("%w: the error log says nothing yet", handlers.ErrIncomplete)
	errNoComments    = fmt.Errorf("%w: a comment isn't there yet", handlers.ErrIncomplete)
	errNotOver       = fmt.Errorf("%w: its record doesn't say yet that the transaction has ended", handlers.ErrIncomplete)
	errNoEvent       = errors.New("the event can't be read")
)

// answer implements the Answer of [handlers.FollowUp]: it asks what a process
// meant. It never relies on what the event says was touched alone: a push lists
// less than the transaction's record.
func (v *visible) answer(ctx context.Context, e handlers.ToldEvent, s handlers.Scan, last bool) error {
	if e.Type == schemas.ErrorLogged {
		return v.detailError(ctx, e, s)
	}
	var told schemas.Process
	if err := json.Unmarshal(e.Data, &told); err != nil {
		return errNoEvent
	}
	record, err := v.transactionOf(ctx, e.Key)
	if err != nil {
		return err
	}
	p := process{event: e, told: told, native: record.native, ledger: told.Ledger, orchestrationID: record.OrchestrationID}
	if p.orchestrationID == "" && told.OrchestrationID != nil {
		p.orchestrationID = *told.OrchestrationID
	}
	if l := (&translation{}).ledger(record.BlockchainDetails); l != nil && l.TransactionID != "" {
		p.channel = l.Channel // as the API writes it, for its filter
		if p.ledger == nil || p.ledger.TransactionID == "" {
			p.ledger = l
		}
	}
	status := strings.ToLower(record.Status)
	if status == "" {
		status = strings.ToLower(told.NativeStatus)
	}
	switch status {
	case "failed", "timed_out":
		return v.explain(ctx, p, s)
	case "success":
	case "queued", "in_progress":
		if ended(told.NativeStatus) {
			return &handlers.UpstreamError{Endpoint: readTransactions.name, Err: errNotOver}
		}
		return nil // its end is told and followed up too
	default:
		return nil
	}
	p.comments = record.Details.affects["commentIds"]
	touched := func(name string) []string { return union(told.Affects[name], record.Details.affects[name]) }
	return errors.Join(
		v.answerAssets(ctx, p, touched("assetIds"), s, last),
		v.answerSecurities(ctx, touched("securityIds"), s),
		v.answerComments(ctx, p, touched("commentIds"), s, last),
	)
}

// ended reports whether a status is one that stays.
func ended(status string) bool {
	return among([]string{"success", "failed", "timed_out"}, status)
}

// process is a process that is followed up.
type process struct {
	event           handlers.ToldEvent
	told            schemas.Process
	native          jsontext.Value // the transaction's record
	ledger          *schemas.Ledger
	channel         string // as the API writes it
	orchestrationID string
	comments        []string // the ids of those that it made
}

// young reports whether what comes with a process may still be to come.
func (p process) young(now time.Time, within time.Duration) bool {
	at, err := time.Parse(time.RFC3339, p.event.Time)
	return err == nil && now.Sub(at) <= within
}

// recorded is a transaction as the transactions' own list has it.
type recorded struct {
	transaction
	native jsontext.Value
}

// transactionOf reads a transaction's record.
func (v *visible) transactionOf(ctx context.Context, id string) (recorded, error) {
	var found *recorded
	err := v.client.byIDs(ctx, readTransactions, "processIdsFilter", []string{id}, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			r := recorded{native: native}
			if json.Unmarshal(native, &r.transaction) == nil && strings.EqualFold(r.ProcessID, id) {
				found = &r
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return recorded{}, err
	case found == nil:
		return recorded{}, &handlers.UpstreamError{Endpoint: readTransactions.name, Err: errNoTransaction}
	}
	return *found, nil
}

// answerAssets tells the steps of the assets that a transaction touched, and
// how they are now.
func (v *visible) answerAssets(ctx context.Context, p process, ids []string, s handlers.Scan, last bool) error {
	if len(ids) == 0 {
		return nil
	}
	details, err := v.assetsByID(ctx, ids)
	if err != nil {
		return err
	}
	ids = respelled(ids, slices.Collect(maps.Keys(details)))
	steps, failure := v.steps(ctx, p, ids)
	if failure == nil && len(details) < len(ids) {
		failure = &handlers.UpstreamError{Endpoint: readAssets.name, Err: errNoDetails}
	}
	if failure != nil && !last {
		return failure
	}
	comments, err := v.commentsOf(ctx, steps, details, s)
	if err != nil {
		if !last && p.young(s.Began(), commentsMayBe) {
			return err
		}
		comments = nil // the reasons are told when they can be read
	}
	// Where the history says nothing a status changed, and no more is known.
	explained := map[string]bool{}
	var waiting []string
	for _, step := range steps {
		explained[step.assetID] = true
		if err := v.tellStep(ctx, p, step, details[step.assetID], comments[step.assetID], s); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if !slices.ContainsFunc(steps, func(st step) bool { return st.assetID == id && st.event == stepRemediation }) {
			waiting = append(waiting, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(details)) {
		r, ok := readRow(details[id])
		if !ok {
			continue
		}
		view := ""
		if explained[id] {
			view = ViewExplained
		}
		err := s.Saw(handlers.Sighting{
			Key: id, Container: RoleAssets, Alone: true, Role: RoleAssets, View: view,
			State: seen{r.text(assetStatus), details[id]}.encode(),
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(failure, v.answerWaiting(ctx, waiting, comments, s))
}

// assetsByID returns the rows of assets, by their ids as the rows spell them.
func (v *visible) assetsByID(ctx context.Context, ids []string) (map[string]jsontext.Value, error) {
	details := map[string]jsontext.Value{}
	err := v.client.byIDs(ctx, readAssets, "assetIdsFilter", ids, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			r, ok := readRow(native)
			if !ok || r.text(assetStatus) == "" {
				return &handlers.UpstreamError{Endpoint: readAssets.name, Err: handlers.ErrIncomplete}
			}
			if id := r.text(assetID); hasID(ids, id) {
				details[id] = native
			}
		}
		return nil
	})
	return details, err
}

// step is a row of an asset's history.
type step struct {
	assetID string
	event   string
	native  jsontext.Value
}

// steps returns what the history says of a ledger transaction. An answer that
// names fewer assets than the transaction touched is none: then the error says
// so, with what is there.
func (v *visible) steps(ctx context.Context, p process, ids []string) ([]step, error) {
	if p.ledger == nil || p.ledger.TransactionID == "" {
		return nil, &handlers.UpstreamError{Endpoint: readTransactions.name, Err: errNoTransaction}
	}
	query := url.Values{"transactionId": {p.ledger.TransactionID}}
	if p.channel != "" {
		query.Set("channelName", p.channel)
	}
	var steps []step
	named := map[string]bool{}
	err := v.client.byIDs(ctx, readAssetHistory, "assetIdsFilter", ids, query, func(rows []jsontext.Value) error {
		for _, native := range rows {
			r, ok := readRow(native)
			if !ok {
				return &handlers.UpstreamError{Endpoint: readAssetHistory.name, Err: handlers.ErrIncomplete}
			}
			event := r.text(stepEvent)
			id, asked := spelled(ids, r.text(stepAsset))
			if event == "" || !asked || !p.made(r) {
				continue // of something else
			}
			named[id] = true
			steps = append(steps, step{id, event, native})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(named) < len(ids):
		return steps, &handlers.UpstreamError{Endpoint: readAssetHistory.name, Err: errNoSteps}
	}
	return steps, nil
}

// made reports whether a row of a history is of the process' transaction. A node
// may ignore that only those were asked for: one that doesn't say which it is of
// must be of its place on the ledger.
func (p process) made(r *row) bool {
	if tx := r.text(stepTransaction); tx != "" {
		return strings.EqualFold(tx, p.ledger.TransactionID)
	}
	var b block
	if p.ledger.Block == nil || json.Unmarshal(r.find(stepBlock), &b) != nil || b.number == nil || *b.number != *p.ledger.Block {
		return false
	}
	channel := r.text(stepChannel)
	return channel != "" && (strings.EqualFold(channel, p.channel) || strings.EqualFold(channel, p.ledger.Channel))
}

// answerSecurities tells how offerings are now, and our assignment to them.
func (v *visible) answerSecurities(ctx context.Context, ids []string, s handlers.Scan) error {
	if len(ids) == 0 {
		return nil
	}
	var got []string
	err := v.client.byIDs(ctx, readSecurities, "securityIdsFilter", ids, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			if r, ok := readRow(native); ok {
				got = append(got, r.text(securityID))
			}
		}
		as := handlers.Sighting{Container: RoleSecurities, Alone: true, Role: RoleSecurities}
		return saw(s, readSecurities, rows, securityID, securityState, as, nil)
	})
	if err != nil {
		return err
	}
	ids = respelled(ids, got)
	as := handlers.Sighting{Container: RoleExclusivity, Alone: true, Role: RoleExclusivity}
	assigned, err := v.assignments(ctx, s, ids, as)
	if err != nil {
		return err
	}
	// What we were taken off need not be shown to us any more.
	missing := slices.ContainsFunc(ids, func(id string) bool {
		return !hasID(got, id) && !strings.EqualFold(assigned[id], "inactive")
	})
	if missing {
		return &handlers.UpstreamError{Endpoint: readSecurities.name, Err: errNoDetails}
	}
	return nil
}

// union returns what is in either of two lists, sorted: as the second spells it,
// if both have it.
func union(a, b []string) []string {
	all := slices.Concat(b, a)
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(all, strings.EqualFold)
}

// spelled returns an id as it is spelled among some, and whether it is one of
// them: the case of its letters may be another one in each answer.
func spelled(ids []string, id string) (string, bool) {
	i := slices.IndexFunc(ids, func(other string) bool { return strings.EqualFold(other, id) })
	if i < 0 {
		return id, false
	}
	return ids[i], true
}

func hasID(ids []string, id string) bool {
	_, ok := spelled(ids, id)
	return ok
}

// respelled returns ids as others spell them, where they do.
func respelled(ids, others []string) []string {
	ids = slices.Clone(ids)
	for i := range ids {
		ids[i], _ = spelled(others, ids[i])
	}
	return ids
}
