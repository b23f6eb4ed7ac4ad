package poll

import (
	"context"
	"errors"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// poller asks one thing of one source. Its fields are for the goroutine that
// runs it.
type poller struct {
	cfg      *Config
	source   string
	platform string
	spec     handlers.Poller
	book     *book

	loaded   string // the generation of the bucket that the book was filled from, "" if it wasn't
	appended map[string]*attempt
	previous time.Time // when the last scan began that ended well, zero if there was none
}

// defaultTimeout is how long a scan may take.
const defaultTimeout = 5 * time.Minute

// scan makes one scan and appends what it found different. Everything that is
// in the journal has been told.
func (p *poller) scan(ctx context.Context) (result, error) {
	if err := p.refresh(ctx); err != nil {
		return result{}, err
	}
	s := newScan(ctx, p, p.cfg.now().UTC().Truncate(time.Millisecond))
	failure := p.ask(ctx, s)
	r, err := s.settle(ctx, failure != nil)
	if failure != nil || err != nil {
		return r, errors.Join(failure, err)
	}
	p.previous = s.began
	return r, nil
}

// ask has the platform asked.
func (p *poller) ask(ctx context.Context, s *scan) error {
	timeout := p.spec.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.ctx = ctx
	return p.spec.Scan(ctx, s)
}
