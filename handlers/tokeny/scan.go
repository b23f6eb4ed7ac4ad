package tokeny

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// poller lists the candidates of a token.
type poller struct {
	token      string
	session    *handlers.Session
	pseudonyms *pseudonyms
	base       string // of the token's URLs

	room []byte // for what is handed on before anything else is written there
}

// scan implements the Scan of [handlers.Poller].
func (p *poller) scan(ctx context.Context, s handlers.Scan) error {
	var drift driftNotes
	p.pseudonyms.begin()
	r := &reader{
		session: p.session, endpoint: endpointCandidates, url: p.base + "/candidates",
		begin: func() func(*jsontext.Decoder) (bool, error) {
			drift = driftNotes{}
			seen := map[string]uint64{}
			return func(dec *jsontext.Decoder) (bool, error) { return p.see(dec, s, seen, &drift) }
		},
	}
	l, err := r.read(ctx)
	if err != nil {
		return err
	}
	for _, name := range l.unknown {
		drift.unknown("candidates", name)
	}
	if l.round > 0 {
		drift.count("candidates.items.length", l.round)
	}
	if err := p.miss(ctx, s, &drift); err != nil {
		return err
	}
	if err := drift.tell(s); err != nil {
		return err
	}
	return s.Complete(p.token)
}

// seed is that of hashes which never leave this process.
var seed = maphash.MakeSeed()

// see reads one candidate, and forgets who it is. It reports whether it is one
// that is not in seen yet.
func (p *poller) see(dec *jsontext.Decoder, s handlers.Scan, seen map[string]uint64, drift *driftNotes) (fresh bool, err error) {
	var c candidate
	if err := json.UnmarshalDecode(dec, &c); err != nil {
		return false, readable(err)
	}
	t, err := c.track(p.pseudonyms.of)
	if err != nil {
		return false, err
	}
	for name := range c.Unknown {
		drift.unknown("candidates.items", name)
	}
	if c.CreatedAt != "" && t.CreatedAt == "" {
		drift.field("candidates.items.createdAt")
	}
	state, err := t.encode(p.room[:0])
	if err != nil {
		return false, err
	}
	p.room = state
	h := maphash.Bytes(seed, state)
	if before, ok := seen[c.ID]; ok {
		if before != h {
			return false, errSeen
		}
		return false, nil
	}
	seen[c.ID] = h
	return true, s.Saw(handlers.Sighting{Key: p.token + "-" + c.ID, Container: p.token, State: state})
}

// miss looks among the holders for those that were candidates and are not:
// one that is there was promoted. Of the others it notes what was answered.
func (p *poller) miss(ctx context.Context, s handlers.Scan, drift *driftNotes) error {
	var missing []string
	err := s.Missing(p.token, func(key string) error {
		missing = append(missing, key)
		return nil
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	known, err := p.holders(ctx, drift)
	if err != nil {
		return err
	}
	for _, key := range missing {
		if err := p.missOne(ctx, s, known, key); err != nil {
			return err
		}
	}
	return nil
}

func (p *poller) missOne(ctx context.Context, s handlers.Scan, known *holders, key string) error {
	if known.any() {
		record, err := s.Record(ctx, key)
		if err != nil {
			return err
		}
		t, err := decodeTracked(record.Parts[RoleCandidates].State)
		if err != nil {
			return err
		}
		if h, ok := known.find(strings.TrimPrefix(key, p.token+"-"), t); ok {
			if t.Holder = h; h.Status != "" {
				t.Status = h.Status
			}
			state, err := t.encode(nil)
			if err != nil {
				return err
			}
			return s.Saw(handlers.Sighting{Key: key, Container: p.token, State: state})
		}
	}
	evidence, err := json.Marshal(known.evidence(), json.Deterministic(true))
	if err != nil {
		return errNoUTF8
	}
	return s.Missed(key, evidence)
}

// holders lists who holds the token, as far as the platform says. It fails only
// if asking again may help.
func (p *poller) holders(ctx context.Context, drift *driftNotes) (*holders, error) {
	var found *holders
	r := &reader{
		session: p.session, endpoint: endpointHolders, url: p.base + "/holders", bare: true,
		accept: []int{http.StatusForbidden, http.StatusNotFound},
		begin: func() func(*jsontext.Decoder) (bool, error) {
			found = newHolders()
			return func(dec *jsontext.Decoder) (bool, error) { return true, found.add(dec, p.pseudonyms.of) }
		},
	}
	l, err := r.read(ctx)
	switch {
	case errors.Is(err, handlers.ErrIncomplete):
		// Its shape is not known well enough to take this for a fault.
		drift.field("holders")
		found.partly = true
	case err != nil:
		return nil, err
	}
	found.code = l.code
	return found, nil
}
