package tokeny

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// Limits of lists that are told in pages.
const (
	maxPages    = 10_000
	maxAttempts = 3 // to read one that moves
)

// errSeen says that an item was on an earlier page, and is another one now.
var errSeen = errors.New("an item is there twice and differs")

// list is what was read of a list, to its end.
type list struct {
	items   int
	pages   int
	round   int      // how many items there are if nothing says that this is all, and it looks like a limit
	unknown []string // names of the members of its pages that say nothing to us
	code    int      // what was answered instead, if that was accepted
}

// reader reads a list.
type reader struct {
	session  *handlers.Session
	endpoint string
	url      string
	accept   []int // codes that are answers
	bare     bool  // pages may be arrays
	// begin is called before the first item is read, and once more if the list
	// must be read again. It returns what reads an item and reports whether it
	// is one that was not there before.
	begin func() func(*jsontext.Decoder) (fresh bool, err error)
}

// read reads the whole list. It fails with [handlers.ErrIncomplete] if there
// is more than it can be sure to have read, with [handlers.ErrMoved] if it
// never stood still, and with the errors of [handlers.Session.Do].
func (r *reader) read(ctx context.Context) (list, error) {
	for range maxAttempts {
		l, err := r.attempt(ctx)
		if !errors.Is(err, handlers.ErrMoved) {
			return l, err
		}
	}
	return list{}, &handlers.UpstreamError{Endpoint: r.endpoint, Err: handlers.ErrMoved}
}

func (r *reader) attempt(ctx context.Context) (list, error) {
	fail := func(err error) (list, error) {
		return list{}, &handlers.UpstreamError{Endpoint: r.endpoint, Err: err}
	}
	item := r.begin()
	distinct, total, pages := 0, 0, 0
	each := func(dec *jsontext.Decoder) error {
		fresh, err := item(dec)
		if fresh {
			distinct++
		}
		return err
	}
	var l list
	var epoch uint64
	asked := map[string]bool{}
	for query := ""; ; {
		asked[query] = true
		answer, err := r.session.Do(ctx, handlers.Call{
			Endpoint: r.endpoint, URL: r.url + query, Accept: r.accept,
			// Wanted of requests without a body, too (Getting API access).
			Header: http.Header{"Content-Type": {"application/json"}},
		})
		if err != nil {
			return list{}, err
		}
		if answer.Code >= 300 {
			return list{code: answer.Code}, nil
		}
		if l.pages > 0 && answer.Epoch != epoch {
			return fail(handlers.ErrMoved)
		}
		epoch = answer.Epoch
		p, err := readPage(answer.Body, r.bare, each)
		switch {
		case errors.Is(err, errSeen) && l.pages > 0:
			return fail(handlers.ErrMoved)
		case errors.Is(err, errSeen):
			return fail(incomplete(errSeen.Error()))
		case err != nil:
			return fail(err)
		}
		l.items += p.items
		l.pages++
		total, pages = max(total, p.total), max(pages, p.pages)
		l.note(p.unknown)
		if p.next == "" {
			if p.more {
				return fail(incomplete("there is more, and it doesn't say where"))
			}
			break
		}
		query, err = r.query(p.next)
		switch {
		case err != nil:
			return fail(err)
		case asked[query]:
			return fail(handlers.ErrMoved)
		case l.pages >= maxPages:
			return fail(incomplete("it never ends"))
		}
	}
	if l.pages > 1 && distinct < l.items {
		// An item slipped from one page to the next while they were read, so
		// that another one may have slipped the other way.
		return fail(handlers.ErrMoved)
	}
	switch {
	case l.items < total && l.pages > 1:
		return fail(handlers.ErrMoved)
	case l.items < total || l.pages < pages:
		return fail(incomplete("it has fewer items than it says"))
	case total == 0 && pages == 0 && l.pages == 1 && isRound(l.items):
		l.round = l.items
	}
	return l, nil
}

// note remembers the names of unknown members, each once.
func (l *list) note(names []string) {
	for _, name := range names {
		if len(l.unknown) < maxDrift {
			l.unknown = append(l.unknown, name)
		}
	}
}

// query returns the query of the next page. Who says where that is is believed
// in nothing else: it is on the list's own host and path, or not read. The
// gateway hides how its paths begin from those behind it, so a path may lack
// that.
func (r *reader) query(next string) (string, error) {
	here, err := url.Parse(r.url)
	if err != nil {
		return "", fmt.Errorf("%w: it has no URL", handlers.ErrIncomplete)
	}
	to, err := url.Parse(next)
	switch {
	case err != nil || to.RawQuery == "" || to.Opaque != "":
		return "", incomplete("where the next page is can't be understood")
	case to.Path != "" && (!strings.HasPrefix(to.Path, "/") || !strings.HasSuffix(here.Path, to.Path)):
		return "", incomplete("the next page is on another path")
	}
	return "?" + to.RawQuery, nil
}

// isRound reports whether a number looks like a limit.
func isRound(n int) bool {
	switch n {
	case 50, 100, 200, 250, 500:
		return true
	}
	return n > 0 && n%1000 == 0
}
