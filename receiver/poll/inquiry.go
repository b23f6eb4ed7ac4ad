package poll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Errors of follow-ups that say what can't be.
var (
	errNoRole   = errors.New("a follow-up says whose part of an entity it saw")
	errNoCursor = errors.New("a follow-up has no cursor")
	errNoList   = errors.New("a follow-up reads no list")
	// errOvertaken says that an entity was changed by others while it was
	// asked for: it must be asked for again.
	errOvertaken = errors.New("others changed an entity meanwhile")
)

// poller returns what makes deliveries for follow-ups of a source; n is the
// bucket's generation, 0 if that doesn't matter. Nobody else uses it.
func (f *following) poller(generation int64) *poller {
	return &poller{
		cfg: f.cfg, metrics: f.cfg.Metrics, source: f.source, platform: f.platform,
		name: handlers.RoleFollowUp, role: handlers.RoleFollowUp, spec: handlers.Poller{Role: handlers.RoleFollowUp},
		book: newBook(), appended: map[string]*attempt{}, loaded: strconv.FormatInt(generation, 36),
	}
}

// inquiry is what a follow-up tells to. It implements [handlers.Scan].
type inquiry struct {
	*scan
	facts []handlers.Fact
}

func newInquiry(ctx context.Context, f *following, cause string) (*inquiry, error) {
	created, _, err := f.cfg.Bus.BucketState(ctx, schemas.BucketState)
	if err != nil {
		return nil, own(err)
	}
	p := f.poller(created.UnixMilli())
	s := newScan(ctx, p, f.cfg.now().UTC().Truncate(time.Millisecond))
	s.cause = cause
	return &inquiry{scan: s}, nil
}

func (s *inquiry) Saw(seen handlers.Sighting) error {
	switch seen.Role {
	case "", handlers.RoleFollowUp:
		return errNoRole
	}
	return s.scan.Saw(seen)
}

// Tell keeps a fact until the answer is known to be one.
func (s *inquiry) Tell(f handlers.Fact) error {
	f.Payload = bytes.Clone(f.Payload)
	s.facts = append(s.facts, f)
	return nil
}

func (s *inquiry) Cursor(context.Context) (jsontext.Value, error) { return nil, nil }
func (s *inquiry) Advance(jsontext.Value) error                   { return errNoCursor }
func (s *inquiry) Complete(string) error                          { return errNoList }

// settle appends what was told, and returns when it is on the bus. An entity of
// which several parts were seen is changed one after the other: each change
// holds only behind the one before.
func (s *inquiry) settle(ctx context.Context) error {
	for _, f := range s.facts {
		if err := s.scan.Tell(f); err != nil {
			return err
		}
	}
	rest := s.aside
	for first := true; first || len(rest) > 0; first = false {
		var wants []want
		var later []*sighting
		taken := map[string]bool{}
		for _, o := range rest {
			if taken[o.key] {
				later = append(later, o)
				continue
			}
			taken[o.key] = true
			wants = append(wants, o.want())
		}
		if err := s.tell(ctx, wants); err != nil {
			return err
		}
		rest = later
	}
	return nil
}

// tell appends changes, and returns when they are on the bus: when the entries
// there are as they were seen.
func (s *inquiry) tell(ctx context.Context, wants []want) error {
	var r result
	s.placed = nil
	for len(wants) > 0 {
		n := min(len(wants), 256)
		if err := s.append(ctx, wants[:n], &r); err != nil {
			return err
		}
		wants = wants[n:]
	}
	if err := s.p.cfg.Relay.Drain(ctx); err != nil {
		return own(err)
	}
	if r.newer > 0 {
		return own(errOvertaken)
	}
	for _, c := range s.placed {
		revision, now, err := s.p.loadRecord(ctx, c.key)
		if err != nil {
			return err
		}
		part := now.Parts[c.role]
		// One whose entry is as it was is in quarantine.
		if revision != c.base && (!part.Present() || !bytes.Equal(part.State, c.state)) {
			return own(errOvertaken)
		}
	}
	return nil
}

// appendGivenUp appends the event that was not answered for, once for each
// message that asked for it.
func (p *poller) appendGivenUp(ctx context.Context, message string, payload []byte) error {
	_, err := p.cfg.Journal.Append(ctx, p.delivery(payload), "follow-up:"+message, sha256.Sum256(payload))
	if err != nil {
		return own(fmt.Errorf("journal: %w", err))
	}
	return nil
}
