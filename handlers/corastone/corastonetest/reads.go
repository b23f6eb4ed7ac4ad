package corastonetest

import (
	"maps"
	"slices"
	"time"
)

// object is a row of an answer.
type object map[string]any

// put adds a member unless its value says nothing.
func (o object) put(name, value string) object {
	if value != "" {
		o[name] = value
	}
	return o
}

// page returns the rows of a page: of those that pass, as what row makes of
// them.
func page[T any](q *query, all []T, passes func(T) bool, row func(T) object) []any {
	var some []T
	for _, one := range all {
		if passes(one) {
			some = append(some, one)
		}
	}
	rows := []any{}
	for _, one := range window(q, some) {
		rows = append(rows, row(one))
	}
	return rows
}

// found returns what is known of ids, in the order of its numbers.
func found[T any](ids []string, known map[string]*T, number func(*T) int) []*T {
	var out []*T
	for _, id := range ids {
		if one := known[id]; one != nil && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *T) int { return number(a) - number(b) })
	return out
}

func (l *Ledger) readSequence(q *query) any {
	from, to := q.time("fromDate", time.Time{}), q.time("toDate", l.now())
	entries := page(q, l.sequence.between(from, to), (*sequenceRow).visible, (*sequenceRow).member)
	granted := []any{}
	for _, g := range l.granted {
		if !g.at.Before(from) && !g.at.After(to) {
			granted = append(granted, object{"processId": g.processID, "timestamp": format(g.at)})
		}
	}
	answer := object{"sequence": entries}
	if len(granted) > 0 {
		answer["grantedTxnEntitlements"] = granted
	}
	return answer
}

// member returns a row with the name of its kind around it.
func (r *sequenceRow) member() object {
	switch e := r.entry().(type) {
	case Process:
		return object{"transaction": e}
	case Orchestration:
		return object{"orchestration": e}
	case Error:
		return object{"error": e}
	default:
		return object{"job": e}
	}
}

func (l *Ledger) readTransactions(q *query) any {
	where := q.blockchain()
	status, methods := q.list("transactionStatusFilter", 5), q.list("transactionMethodFilter", 253)
	processes, orgs := q.list("processIdsFilter", 50), q.list("orgIdsFilter", 10)
	orchestrations := q.list("orchestrationIdsFilter", 10)
	candidates := l.transactions
	if processes != nil {
		candidates = found(processes, l.byProcess, func(t *transaction) int { return t.number })
	}
	return page(q, candidates, func(t *transaction) bool {
		p := t.process
		return !t.hidden && where.passes(p.BlockchainDetails) && passes(status, p.Status) && passes(methods, p.Method) &&
			passes(processes, p.ProcessID) && passes(orgs, p.OrgID) && passes(orchestrations, p.OrchestrationID)
	}, (*transaction).object)
}

// object returns a transaction as its own list has it.
func (t *transaction) object() object {
	p := t.row()
	row := object{
		"processId": p.ProcessID, "status": p.Status, "type": p.Type, "method": p.Method, "timestamp": p.Timestamp,
		"orchestrationId": p.OrchestrationID, "orchestrationStartDate": format(t.began), "orgId": p.OrgID,
	}.put("grantedByProcessId", t.grantedBy)
	if p.BlockchainDetails != nil {
		row["blockchainDetails"] = p.BlockchainDetails
	}
	if p.Details != nil {
		row["details"] = p.Details
	}
	return row
}

func (l *Ledger) readOrchestrations(q *query) any {
	ids, status := q.list("orchestrationIdsFilter", 50), q.list("orchestrationStatusFilter", 5)
	sources := q.list("sourceTransactionIdsFilter", 50)
	return page(q, l.orchestrations, func(o *orchestration) bool {
		return !o.manner.hidden && passes(ids, o.OrchestrationID) && passes(status, o.Status) && passes(sources, o.source)
	}, (*orchestration).object)
}

// object returns an orchestration as its own list has it. Its schema lets dates
// be milliseconds.
func (o *orchestration) object() object {
	step := len(o.ProcessIDs)
	if o.ended.IsZero() {
		step = 1
	}
	return object{
		"orchestrationId": o.OrchestrationID, "startDate": o.StartDate, "status": o.Status, "processIds": o.ProcessIDs,
		"sourceTransactionId": o.source, "currentStep": step, "createdDate": o.began.UnixMilli(),
	}.put("timestamp", o.Timestamp)
}

func (l *Ledger) readErrors(q *query) any {
	ids, tracking := q.list("errorIdsFilter", 50), q.list("trackingIdsFilter", 10)
	securities := q.list("securityIdsFilter", 10)
	return page(q, l.errors, func(e *loggedError) bool {
		return passes(ids, e.ErrorID) && passes(tracking, e.tracking) && passesAny(securities, e.securities)
	}, (*loggedError).row)
}

func (l *Ledger) readAssets(q *query) any {
	ids, securities := q.list("assetIdsFilter", 500), q.list("securityIdsFilter", 10)
	status, correlated := q.list("assetStatusFilter", 27), q.list("assetCorrelationIdsFilter", 50)
	without := q.list("excludeCommentReviewStatusFilter", 7)
	candidates := l.assets
	if ids != nil {
		candidates = found(ids, l.assetByID, func(a *asset) int { return a.number })
	}
	return page(q, candidates, func(a *asset) bool {
		unpublished := a.status == "preSynced" || a.status == "deleted"
		return (!unpublished || ids != nil || status != nil) && passes(ids, a.id) && passes(securities, a.security.id) &&
			passes(status, a.status) && passes(correlated, a.CorrelationID)
	}, func(a *asset) object {
		row := a.row()
		if q.flag("includeComments") {
			row["comments"] = l.commentsOn(func(c *comment) bool {
				return slices.Contains(c.assets, a.id) && !slices.Contains(without, c.review)
			})
		}
		return row
	})
}

// row returns an asset as Get Asset Details has it. The guide shows no body:
// the names are those of filters, of other objects, or likely ones.
func (a *asset) row() object {
	row := object{
		"assetId": a.id, "status": a.status, "securityId": a.security.id,
		"investmentAmount": number(a.Amount), "currency": a.security.Currency,
		"sharesNumber": number(a.Units), "unitPrice": a.Price, "fees": object{"frontEndFee": a.FrontEndFee},
		"account":     object{"name": a.Account, "type": "individual"},
		"investors":   []any{object{"name": a.Investor}},
		"createdDate": format(a.created),
	}.put("settlementDate", day(a.settled)).put("issuedDate", day(a.issued)).put("reviewStatus", a.review)
	if a.CorrelationID != "" {
		row["correlationData"] = []any{object{"correlationId": a.CorrelationID, "orgId": OurOrg}}
	}
	return row
}

func (l *Ledger) readAssetHistory(q *query) any {
	ids := q.list("assetIdsFilter", 500)
	rows := l.history
	if ids != nil {
		rows = nil
		for _, a := range found(ids, l.assetByID, func(a *asset) int { return a.number }) {
			rows = append(rows, a.history...)
		}
		slices.SortFunc(rows, func(a, b historyRow) int { return a.number - b.number })
	}
	return l.rowsOf(q, rows, "assetId", ids, q.list("assetEventFilter", 51))
}

func (l *Ledger) readSecurityHistory(q *query) any {
	return l.rowsOf(q, l.chronicle, "securityId", q.list("securityIdsFilter", 10), nil)
}

// rowsOf returns rows of a history in the frame that the guide shows for that
// of correlation ids.
func (l *Ledger) rowsOf(q *query, history []historyRow, name string, ids, events []string) any {
	where := q.blockchain()
	return page(q, history, func(h historyRow) bool {
		return !h.transaction.hidden && where.passes(h.transaction.process.BlockchainDetails) && passes(ids, h.id) && passes(events, h.event)
	}, func(h historyRow) object {
		p := h.transaction.row()
		update := object{"status": h.status}
		maps.Copy(update, h.update)
		return object{
			name: h.id, "event": h.event, "timestamp": format(h.at),
			"blockNumber": p.BlockchainDetails.BlockNumber, "transactionId": p.BlockchainDetails.TransactionID,
			"channelName":  p.BlockchainDetails.ChannelName,
			"organization": object{"orgId": p.OrgID, "name": l.orgs[p.OrgID]},
			"signerData":   object{"name": "Sam Zeichner", "email": "sam.zeichner@standin.example"},
			"update":       update,
		}
	})
}

func (l *Ledger) readSecurities(q *query) any {
	ids, status := q.list("securityIdsFilter", 10), q.list("securityStatusFilter", 14)
	types, correlated := q.list("securityTypeFilter", 8), q.list("securityCorrelationIdsFilter", 10)
	rows := []any{}
	for _, s := range l.securities {
		if !s.seen || !passes(ids, s.id) || !passes(status, s.status) || !passes(types, s.Type) || !passes(correlated, s.CorrelationID) {
			continue
		}
		row := object{
			"securityId": s.id, "status": s.status, "type": s.Type, "securityName": s.Name, "isRestricted": s.restricted,
			"currency": s.Currency, "contingent": s.Contingent, "createdDate": format(s.created),
			"organization": object{"orgId": Issuer, "name": l.orgs[Issuer]},
		}
		if s.CorrelationID != "" {
			row["correlationData"] = []any{object{"correlationId": s.CorrelationID, "orgId": OurOrg}}
		}
		rows = append(rows, row)
	}
	return window(q, rows)
}

func (l *Ledger) readExclusivity(q *query) any {
	securities, orgs := q.list("securityIdsFilter", 10), q.list("orgIdsFilter", 10)
	status := q.list("statuses", 4)
	rows := []any{}
	for _, a := range l.assignments {
		if !passes(securities, a.security.id) || !passes(orgs, a.org) || !passes(status, a.status) {
			continue
		}
		row := object{"orgId": a.org, "name": l.orgs[a.org], "status": a.status}
		if a.status == "accepted" {
			row["bookingModel"] = object{"fbo": object{"qualifiedTypes": []string{"individual"}}}
		}
		rows = append(rows, row)
	}
	return window(q, rows)
}

func (l *Ledger) readPending(q *query) any {
	rows := []any{}
	for _, a := range l.assignments {
		if a.org == OurOrg && a.status == "assigned" {
			rows = append(rows, object{"securityId": a.security.id, "status": a.status, "timestamp": format(a.at)})
		}
	}
	return window(q, rows)
}

// readComments answers with a bare object if there is but one: the guide shows
// both.
func (l *Ledger) readComments(q *query) any {
	assets, ids := q.list("assetIdsFilter", 50), q.list("commentIdsFilter", 250)
	rows := window(q, l.commentsOn(func(c *comment) bool { return passesAny(assets, c.assets) && passes(ids, c.id) }))
	if len(rows) == 1 && q.offset == 0 {
		return rows[0]
	}
	return rows
}

func (l *Ledger) commentsOn(of func(*comment) bool) []any {
	rows := []any{}
	for _, c := range l.comments {
		if of(c) {
			rows = append(rows, l.commentRow(c))
		}
	}
	return rows
}

// commentRow returns a comment as the guide shows one, with reasons as it
// shows those of transfers.
func (l *Ledger) commentRow(c *comment) object {
	row := object{
		"commentId": c.id, "message": c.message, "status": "broadcast", "type": "review", "reviewStatus": c.review,
		"viewOrgs": []string{OurOrg, Issuer}, "fileIds": []string{},
		"organization":       object{"orgId": c.org, "name": l.orgs[c.org]},
		"associatedEntities": object{"assetIds": c.assets},
		"extraData":          object{},
	}
	reasons := []any{}
	files := []string{}
	for _, r := range c.reasons {
		documents := []any{}
		for _, d := range r.Documents {
			pages := []any{}
			for _, p := range d.Pages {
				pages = append(pages, object{"pageNumber": p.Number, "description": p.Description})
			}
			documents = append(documents, object{"document": object{"fileId": d.FileID}.put("fileName", d.Name), "pages": pages})
			files = append(files, d.FileID)
		}
		reasons = append(reasons, object{"message": r.Message, "category": r.Category, "documentWithIssues": documents})
	}
	if len(reasons) > 0 {
		row["reason"], row["fileIds"] = reasons, files
	}
	return row
}
