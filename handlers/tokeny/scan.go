package tokeny

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

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

	looked time.Time // when those that are absent were looked for last, zero: never
}

// lookAgain is how often those that are absent are looked for among the
// holders: who was promoted while those could not be read is there.
const lookAgain = 15 * time.Minute

// scan implements the Scan of [handlers.Poller].
func (p *poller) scan(ctx context.Context, s handlers.Scan) error {
	var drift driftNotes
	var seen map[string]uint64
	p.pseudonyms.begin()
	r := &reader{
		session: p.session, endpoint: endpointCandidates, url: p.base + "/candidates",
		begin: func() func(*jsontext.Decoder) (bool, error) {
			drift = driftNotes{}
			seen = map[string]uint64{}
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
	if err := p.miss(ctx, s, seen, &drift); err != nil {
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
func (p *poller) miss(ctx context.Context, s handlers.Scan, seen map[string]uint64, drift *driftNotes) error {
	var missing []string
	err := s.Missing(p.token, func(key string) error {
		missing = append(missing, key)
		return nil
	})
	if err != nil {
		return err
	}
	absent, err := p.absent(ctx, s, seen)
	if err != nil || len(missing)+len(absent) == 0 {
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
	for key, t := range absent {
		if h, ok := known.find(p.id(key), t.tracked); ok {
			if err := p.sawHolder(s, key, t.all, h); err != nil {
				return err
			}
		}
	}
	p.looked = s.Began()
	return nil
}

// id returns the id of the investor that an entity is.
func (p *poller) id(key string) string { return strings.TrimPrefix(key, p.token+"-") }

func (p *poller) missOne(ctx context.Context, s handlers.Scan, known *holders, key string) error {
	if known.any() || known.unread() {
		record, err := s.Record(ctx, key)
		if err != nil {
			return err
		}
		t, err := decodeTracked(record.Parts[RoleCandidates].State)
		if err != nil {
			return err
		}
		h, ok := known.find(p.id(key), t)
		if !ok && known.unread() {
			h = t.Holder // who was a holder may well be one still
		}
		if h != nil {
			return p.sawHolder(s, key, t, h)
		}
	}
	evidence, err := json.Marshal(known.evidence(), json.Deterministic(true))
	if err != nil {
		return errNoUTF8
	}
	return s.Missed(key, evidence)
}

// sawHolder notes that an investor holds the token.
func (p *poller) sawHolder(s handlers.Scan, key string, t tracked, h *holding) error {
	if t.Holder = h; h.Status != "" {
		t.Status = h.Status
	}
	state, err := t.encode(nil)
	if err != nil {
		return err
	}
	return s.Saw(handlers.Sighting{Key: key, Container: p.token, State: state})
}

// lost is an investor that is absent: all that is known of it, and that by which
// it is looked for.
type lost struct{ all, tracked tracked }

// absent returns the investors that are absent and that no list shows, if it is
// time to look for them. A mail address or a wallet that somebody else has by
// now is none to find them by.
func (p *poller) absent(ctx context.Context, s handlers.Scan, seen map[string]uint64) (map[string]lost, error) {
	if age := s.Began().Sub(p.looked); !p.looked.IsZero() && age >= 0 && age < lookAgain {
		return nil, nil
	}
	absent, taken := map[string]lost{}, map[string]bool{}
	err := s.Records(ctx, RoleCandidates, func(key string, r handlers.Record) error {
		part := r.Parts[RoleCandidates]
		if part.Container != p.token {
			return nil
		}
		t, err := decodeTracked(part.State)
		if err != nil {
			return nil //nolint:nilerr // of another version: nothing can be told of it
		}
		_, listed := seen[p.id(key)]
		if part.Absent && !listed {
			absent[key] = lost{t, t}
		} else {
			taken[t.EmailHash], taken[t.WalletHash] = true, true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key, l := range absent {
		if taken[l.tracked.EmailHash] {
			l.tracked.EmailHash = ""
		}
		if taken[l.tracked.WalletHash] {
			l.tracked.WalletHash = ""
		}
		absent[key] = l
	}
	if len(absent) == 0 {
		p.looked = s.Began()
	}
	return absent, nil
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
