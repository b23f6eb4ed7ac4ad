package poll

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// ownError is a failure of ours, not of the platform: the bus or the journal.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// own marks an error as one of ours.
func own(err error) error {
	if err == nil {
		return nil
	}
	return &ownError{err}
}

// errPanic says that a platform's code panicked.
var errPanic = errors.New("the poller panicked; the log has where")

// shared is what the pollers of a source have in common.
type shared struct {
	mu      sync.Mutex
	opened  any                        // what says that it is another platform or login
	until   time.Time                  // the platform doesn't want to be asked before
	refused map[string]map[string]bool // pollers whose login is refused, by its owner
}

// rest notes that the platform wants not to be asked for a while.
func (s *shared) rest(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.until) {
		s.until = until
	}
}

// open notes with what the platform is asked from now on. What was wanted of
// others doesn't hold.
func (s *shared) open(with any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != with {
		s.opened, s.until = with, time.Time{}
	}
}

func (s *shared) resting() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

// refuse notes that a poller's login is refused, and reports whether it is the
// first of those with this owner.
func (s *shared) refuse(owner, poller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.refused[owner]) == 0
	if s.refused == nil {
		s.refused = map[string]map[string]bool{}
	}
	if first {
		s.refused[owner] = map[string]bool{}
	}
	s.refused[owner][poller] = true
	return first
}

// accept notes that a poller's login is not refused any more.
func (s *shared) accept(owner, poller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused[owner], poller)
}

// When a poller's failures are told.
const (
	tellAfter     = 3
	tellAfterTime = 5 * time.Minute
)

// trouble is a series of failures.
type trouble struct {
	since    time.Time // when the first scan began that failed
	failures int       // in a row
	told     bool
	refused  bool // that the login is refused was told, which has an end as well
}

// failed notes a failure of the platform, and has it told in time.
func (p *poller) failed(began time.Time, err error) {
	t := &p.trouble
	if t.failures == 0 && !t.told && !t.refused {
		t.since = began
	}
	t.failures++
	if t.told || t.failures < tellAfter && time.Since(t.since) < tellAfterTime {
		return
	}
	t.told = true
	data := schemas.PollFailure{
		Platform: p.platform, Poller: p.name, Since: schemas.FormatTime(t.since),
		Failures: int64(t.failures), Reason: reasonOf(err),
	}
	var upstream *handlers.UpstreamError
	var auth *handlers.AuthError
	switch {
	case errors.As(err, &auth):
		code := int64(auth.Code)
		data.Endpoint, data.Code = &auth.Endpoint, &code
	case errors.As(err, &upstream):
		data.Endpoint = &upstream.Endpoint
		if upstream.Code != 0 {
			code := int64(upstream.Code)
			data.Code = &code
		}
	}
	since := t.since
	p.news.tell(p, schemas.PlatformPollFailed, since, "", data, func(ctx context.Context) error {
		return p.noteTrouble(ctx, since)
	})
}

// reasonOf is the word for an error in events.
func reasonOf(err error) string {
	var auth *handlers.AuthError
	var upstream *handlers.UpstreamError
	var timeout net.Error
	switch {
	case errors.As(err, &auth):
		return "auth"
	case errors.Is(err, handlers.ErrNotJSON):
		return "not_json"
	case errors.Is(err, handlers.ErrIncomplete):
		return "incomplete"
	case errors.Is(err, handlers.ErrMoved):
		return "moved"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &upstream) && upstream.Code != 0:
		return "answer"
	case errors.As(err, &upstream):
		return "unreachable"
	}
	return "other"
}

// recovered ends a series of failures, and has that told if they were.
func (p *poller) recovered(began time.Time) {
	t := p.trouble
	p.trouble = trouble{}
	if !t.told && !t.refused {
		return
	}
	data := schemas.PollRecovery{
		Platform: p.platform, Poller: p.name, Since: schemas.FormatTime(t.since),
		Seconds: int64(max(began.Sub(t.since), 0) / time.Second),
	}
	p.news.tell(p, schemas.PlatformPollRecovered, t.since, "", data, func(ctx context.Context) error {
		return p.noteTrouble(ctx, time.Time{})
	})
}

// troubled is what the bus has of a series of failures that was told, so that
// its end is told also by who takes over.
type troubled struct {
	Since time.Time `json:"since,omitzero"`
}

func (p *poller) troubleKey() string { return p.entryKey("failing") }

// noteTrouble writes since when failures are told, zero: none are.
func (p *poller) noteTrouble(ctx context.Context, since time.Time) error {
	v, err := json.Marshal(troubled{since.UTC()}, json.Deterministic(true))
	if err != nil {
		return nil //nolint:nilerr // it can't be, and trying again wouldn't help
	}
	return p.write(ctx, p.troubleKey(), v)
}

// takeOver goes on with a series of failures that was told before.
func (p *poller) takeOver(ctx context.Context) error {
	e, err := p.loadCursor(ctx, p.troubleKey())
	if err != nil {
		return err
	}
	var t troubled
	if e.cursor != nil && json.Unmarshal(e.cursor, &t) == nil && !t.Since.IsZero() && !p.trouble.told {
		p.trouble = trouble{since: t.Since, told: true, failures: p.trouble.failures}
	}
	return nil
}

// write writes an entry that no delivery changes, whatever it was before.
func (p *poller) write(ctx context.Context, key string, v jsontext.Value) error {
	plain, err := handlers.Stored{Delivery: p.cfg.Holder, Cursor: v}.Encode()
	if err != nil {
		return err
	}
	const tries = 5
	for range tries {
		e, err := p.cfg.Bus.Load(ctx, schemas.BucketCursors, key)
		if err != nil {
			return err
		}
		put := schemas.Put{Key: key, Base: e.Revision, Value: p.cfg.Seal(handlers.StoredContext(key), plain)}
		revisions, err := p.cfg.Bus.Store(ctx, schemas.BucketCursors, []schemas.Put{put})
		if err != nil {
			return err
		}
		if revisions[0] != 0 {
			return nil
		}
	}
	return errors.New("others keep changing the same entry")
}

// suspected has suspicions told that are new.
func (p *poller) suspected(began time.Time, suspect []Suspicion) {
	now := map[string]bool{}
	for _, s := range suspect {
		now[s.Container] = true
		if p.suspects[s.Container] {
			continue
		}
		p.cfg.Log.Warn("a list shrank too much to be believed at once", "source", p.source, "target", p.name, "count", s.Seen)
		data := schemas.ScanSuspicion{
			Platform: p.platform, Poller: p.name, Container: s.Container,
			Before: int64(s.Known), Seen: int64(s.Seen),
		}
		p.news.tell(p, schemas.PlatformScanSuspect, began, s.Container, data, nil)
	}
	p.suspects = now
	p.metrics.suspect.WithLabelValues(p.source, p.name).Set(float64(len(now)))
}
