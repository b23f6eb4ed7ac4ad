package corastonetest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query is what a read is asked.
type query struct {
	values       url.Values
	max          int // rows a page
	fault        Kind
	size, offset int
	err          *RefusedError // the first thing that is wrong with it
}

func (q *query) refuse(code, message string) {
	if q.err == nil {
		q.err = refused(code, message)
	}
}

func (q *query) invalid() { q.refuse("GN0002", "The payload you have supplied is invalid.") }

// page reads which page is asked for: without a size, one of the largest.
func (q *query) page() {
	q.size, q.offset = q.max, 0
	if s := q.values.Get("pageSize"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > q.max {
			q.refuse("GN0004", "Page size must be an integer between 1 and "+strconv.Itoa(q.max))
		}
		q.size = n
	}
	if s := q.values.Get("offset"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			q.refuse("GN0005", "Offset must be an integer bigger or equal to 0")
		}
		q.offset = n
	}
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) flag(name string) bool { return q.values.Get(name) == "true" }

// list reads a filter with at most limit entries: with commas between, and
// quotes around what has one in it. nil: it isn't there.
func (q *query) list(name string, limit int) []string {
	s := q.values.Get(name)
	if s == "" {
		return nil
	}
	var out []string
	for s != "" {
		var part string
		if rest, quoted := strings.CutPrefix(s, `"`); quoted {
			part, s, _ = strings.Cut(rest, `"`)
			s = strings.TrimPrefix(s, ",")
		} else {
			part, s, _ = strings.Cut(s, ",")
		}
		out = append(out, strings.TrimSpace(part))
	}
	if len(out) > limit {
		q.invalid()
	}
	return out
}

// number reads a whole number, -1 if it isn't there.
func (q *query) number(name string) int64 {
	s := q.values.Get(name)
	if s == "" {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		q.invalid()
	}
	return n
}

// time reads a time, or returns another if it isn't there.
func (q *query) time(name string, otherwise time.Time) time.Time {
	s := q.values.Get(name)
	if s == "" {
		return otherwise
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		q.invalid()
	}
	return t
}

// passes reports whether a filter lets a value through.
func passes(filter []string, value string) bool {
	return filter == nil || slices.Contains(filter, value)
}

// passesAny reports whether a filter lets one of some values through.
func passesAny(filter, values []string) bool {
	return filter == nil || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(filter, v) })
}

// window returns a page of rows: if a fault moves the list between pages, it
// begins a row too early or too late.
func window[T any](q *query, rows []T) []T {
	from := q.offset
	if from > 0 {
		switch q.fault {
		case PageRepeats:
			from--
		case PageSkips:
			from++
		}
	}
	from = min(max(from, 0), len(rows))
	return rows[from:min(from+max(q.size, 0), len(rows))]
}

// blockchain are the filters for a place on the ledger.
type blockchain struct {
	block       int64
	transaction string
	channel     string
}

func (q *query) blockchain() blockchain {
	b := blockchain{q.number("blockNumber"), q.text("transactionId"), q.text("channelName")}
	if len(b.transaction) > 500 || len(b.channel) > 20 {
		q.invalid()
	}
	return b
}

func (b blockchain) passes(p *Place) bool {
	if p == nil {
		return b.block < 0 && b.transaction == "" && b.channel == ""
	}
	return (b.block < 0 || b.block == p.BlockNumber) &&
		(b.transaction == "" || b.transaction == p.TransactionID) &&
		(b.channel == "" || strings.EqualFold(b.channel, p.ChannelName))
}
