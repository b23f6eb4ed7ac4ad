package concedus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/shopspring/decimal"

	"github.com/seed75441868/postern/handlers"
)

const (
	pageSize = 100
	maxPages = 1000
	// readings is how often a list is read that changes while it is read.
	readings = 3
)

// list is a list of open contracts: the agent's, or an owner's.
type list struct {
	session   *handlers.Session
	endpoint  string
	url       string
	owner     string // "" for the agent's
	pseudonym func(string) string
	interval  time.Duration
	reads     reads
}

// scan reads the list and tells what is on it.
func (l *list) scan(ctx context.Context, s handlers.Scan) error {
	contracts, err := l.read(ctx)
	if err != nil {
		return err
	}
	container := l.container()
	for _, c := range contracts {
		state, err := c.state()
		if err != nil {
			return l.fails(err)
		}
		if err := s.Saw(handlers.Sighting{Key: c.entity(), Container: container, State: state}); err != nil {
			return err
		}
	}
	l.reads.note(s.Began(), l.interval)
	return s.Complete(container)
}

func (l *list) container() string {
	if l.owner == "" {
		return "agent"
	}
	return "issuer-" + l.owner
}

func (l *list) fails(err error) error { return fmt.Errorf("%s: %w", l.endpoint, err) }

// read returns all contracts of the list, each once. What changed while it was
// read is read again.
func (l *list) read(ctx context.Context) ([]contract, error) {
	var err error
	for range readings {
		var contracts []contract
		if contracts, err = l.readOnce(ctx); !errors.Is(err, handlers.ErrMoved) {
			return contracts, err
		}
	}
	return nil, err
}

// readOnce reads page after page until one is short. It fails with
// [handlers.ErrMoved] if the pages don't belong together.
func (l *list) readOnce(ctx context.Context) ([]contract, error) {
	var pages []page
	var contracts []contract
	at := map[string]int{}
	var epoch uint64
	for {
		if len(pages) == maxPages {
			return nil, l.fails(fmt.Errorf("%w: it has no end within 1,000 pages", handlers.ErrIncomplete))
		}
		answer, err := l.session.Do(ctx, handlers.Call{
			Endpoint: l.endpoint, URL: l.url + "?page=" + strconv.Itoa(len(pages)+1) + "&pageSize=" + strconv.Itoa(pageSize),
		})
		if err != nil {
			return nil, err
		}
		p, err := l.decode(answer)
		if err != nil {
			return nil, err
		}
		switch {
		case len(pages) == 0:
			epoch = answer.Epoch
		case answer.Epoch != epoch, p.repeats(pages[len(pages)-1]):
			return nil, l.fails(handlers.ErrMoved)
		}
		for _, c := range p.contracts {
			// One that moved down while it was read is on two pages.
			if i, twice := at[c.Key]; twice {
				contracts[i] = c
				continue
			}
			at[c.Key] = len(contracts)
			contracts = append(contracts, c)
		}
		if len(pages) > 0 {
			pages[len(pages)-1].contracts = nil // there may be very many
		}
		pages = append(pages, p)
		if p.last(len(contracts)) {
			break
		}
	}
	if !consistent(pages, contracts) {
		return nil, l.fails(fmt.Errorf("%w: its sums are not those of what is on it", handlers.ErrMoved))
	}
	return contracts, nil
}

// page is a page of a list.
type page struct {
	summary   summary
	contracts []contract        // of the last page that was read
	sums      []decimal.Decimal // of the contracts, by measures
	empty     bool
}

// envelope is around a page.
type envelope struct {
	Summary   *summary          `json:"summary"`
	Contracts *[]jsontext.Value `json:"contracts"`
}

// summary says what is on a page, or on the whole list: Concedus' documentation
// doesn't say which, and shows only lists of one page.
type summary struct {
	ItemsCount amount `json:"itemsCount"`
	PageSize   amount `json:"pageSize"`
	SumShare   amount `json:"sumShare"`
	SumAgio    amount `json:"sumAgio"`
}

func (l *list) decode(answer handlers.Answer) (page, error) {
	var e envelope
	if err := json.Unmarshal(answer.Body, &e, tolerant); err != nil {
		var wrong *json.SemanticError
		if errors.As(err, &wrong) {
			return page{}, l.fails(fmt.Errorf("%w: it is not of the documented form", handlers.ErrIncomplete))
		}
		return page{}, &handlers.UpstreamError{Endpoint: l.endpoint, Code: answer.Code, Err: handlers.ErrNotJSON}
	}
	if e.Summary == nil || e.Contracts == nil {
		return page{}, l.fails(fmt.Errorf("%w: summary or contracts", handlers.ErrIncomplete))
	}
	p := page{summary: *e.Summary, contracts: make([]contract, 0, len(*e.Contracts))}
	for _, element := range *e.Contracts {
		c, err := readContract(element, l.owner, l.pseudonym)
		if err != nil {
			return page{}, l.fails(fmt.Errorf("%w: the key of a contract", err))
		}
		p.contracts = append(p.contracts, c)
	}
	p.empty = len(p.contracts) == 0
	for _, m := range measures {
		p.sums = append(p.sums, m.sum(p.contracts))
	}
	return p, nil
}

// repeats reports whether it has the same contracts as the page before: then
// the list moved by as much, or pages are not what they should be.
func (p page) repeats(before page) bool {
	return len(p.contracts) > 0 && slices.EqualFunc(p.contracts, before.contracts, func(a, b contract) bool { return a.Key == b.Key })
}

// last reports whether nothing follows the page, given how many contracts were
// read so far. The platform may give fewer a page than it was asked for.
func (p page) last(read int) bool {
	size := int64(pageSize)
	if n := number(p.summary.PageSize.value).IntPart(); n > 0 && n < size {
		size = n
	}
	if len(p.contracts) == 0 {
		return true
	}
	return int64(len(p.contracts)) < size && number(p.summary.ItemsCount.value).IntPart() <= int64(read)
}
