// Package accesscontrolstest is a stand-in of CAS's Access Controls and of what
// belongs to them: the identity server that gives tokens, and the Deals API. It
// answers as the platform is documented to, while its user makes things happen
// and go wrong.
package accesscontrolstest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Scopes are all that the platform has for those who read.
func Scopes() []string {
	return []string{"accesscontrol-read", "accesscontrol-admin", "accesscontrol-admin-read", "deals-read"}
}

// Options are what a stand-in is made of.
type Options struct {
	ClientID, ClientSecret string   // of the one client that it knows
	Firm                   string   // the client's; "4821" if empty
	Scopes                 []string // what the client may have; nil: all
	// Now is its clock. Nil: the machine's.
	Now func() time.Time
	// Seed is what ids and tokens are made up from: the same ones in the same
	// order for the same seed.
	Seed uint64
}

// Life is how long a token lives.
const Life = 20 * time.Minute

// SharedFirm is the firm that shared data is evaluated for.
const SharedFirm = "900001"

// Platform is a stand-in of the platform. It is an [http.Handler] and safe for
// concurrent use.
type Platform struct {
	options Options

	mu       sync.Mutex
	rand     *rand.Rand
	tokens   map[string]token
	tranches map[string]*tranche
	deals    []*deal // as they are listed
	faults   []Fault
	counts   map[string]int
	most     int  // ids in one call
	wrapped  bool // ids are wanted in an object
	noIssuer bool
	turned   bool // sets and members come in another order
	reduces  bool
	bare     bool // errors have no body
}

type token struct {
	scopes []string
	ends   time.Time
}

// Rule is one of the rules of a permission.
type Rule struct {
	Roles   []string
	UserIDs []string
	Regions []string // where regions are allowed
	Action  string   // "Default" if empty
}

// Grant is access that a firm grants another one.
type Grant struct{ ByFirmID, ToFirmID, AccessType string }

// New returns a stand-in that has nothing yet.
func New(o Options) *Platform {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Firm == "" {
		o.Firm = "4821"
	}
	if o.Scopes == nil {
		o.Scopes = Scopes()
	}
	return &Platform{
		options: o, rand: rand.New(rand.NewPCG(o.Seed, 2)),
		tokens: map[string]token{}, tranches: map[string]*tranche{}, counts: map[string]int{},
	}
}

// AddDeal adds a deal with access controls and no tranche, and returns its id.
func (p *Platform) AddDeal() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &deal{id: p.uuid(), v2: p.newDocument()}
	d.v2.rules = dealRules()
	p.deals = append(p.deals, d)
	return d.id
}

// AddTranche adds a tranche with access controls in both versions: closed,
// hidden, nothing released. It belongs to a deal, unless that is "". It returns
// the tranche's id.
func (p *Platform) AddTranche(deal string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &tranche{id: p.uuid(), v1: p.newDocument(), v2: p.newDocument(), flags: map[string]bool{}, forbidden: map[string]bool{}}
	t.v2.rules = trancheRules()
	p.tranches[t.id] = t
	for _, d := range p.deals {
		if d.id == deal {
			d.tranches = append(d.tranches, t.id)
		}
	}
	return t.id
}

// Unlist takes a deal from the list of deals. What it has stays.
func (p *Platform) Unlist(deal string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.deals {
		if d.id == deal {
			d.unlisted = true
		}
	}
}

// The flags of a tranche's v1 document.
const (
	BookOpen            = "bookOpen"
	HedgeBookOpen       = "hedgeBookOpen"
	AllocationsReleased = "allocationsReleased"
	TrancheVisible      = "trancheVisible"
	AllocationsVisible  = "allocationsVisible"
	VisibleToInvestor   = "allocationsVisibleToInvestor"
)

// Set sets a flag of a tranche's v1 document.
func (p *Platform) Set(id, flag string, on bool) {
	p.change(id, func(t *tranche) {
		t.flags[flag] = on
		p.touch(t.v1)
	})
}

// OpenBook opens the book of a tranche.
func (p *Platform) OpenBook(id string) { p.Set(id, BookOpen, true) }

// CloseBook closes the book of a tranche.
func (p *Platform) CloseBook(id string) { p.Set(id, BookOpen, false) }

// Release releases allocations, or takes that back, as the v1 document of a
// tranche has it.
func (p *Platform) Release(id string, on bool) { p.Set(id, AllocationsReleased, on) }

// SetVisible sets the flags that say who sees what, all at once.
func (p *Platform) SetVisible(id string, itself, allocations, toInvestor bool) {
	p.change(id, func(t *tranche) {
		t.flags[TrancheVisible], t.flags[AllocationsVisible], t.flags[VisibleToInvestor] = itself, allocations, toInvestor
		p.touch(t.v1)
	})
}

// ReleaseV2 releases allocations, or takes that back, as the v2 document of a
// tranche has it.
func (p *Platform) ReleaseV2(id string, on bool) {
	p.change(id, func(t *tranche) {
		t.released = on
		p.touch(t.v2)
	})
}

// EditRules sets the rules of a permission in a v2 document: of a tranche or a
// deal, at a path like "indication.add".
func (p *Platform) EditRules(id, path string, rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.v2Of(id)
	d.rules[path] = rules
	p.touch(d)
}

// Member sets a member of a document that isn't documented, or another value
// of one that is: api is v1 or v2. Nil takes it out.
func (p *Platform) Member(id, api, name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.v2Of(id)
	if api == "v1" {
		d = p.tranches[id].v1
	}
	if d.more[name] = value; value == nil {
		delete(d.more, name)
	}
	p.touch(d)
}

// Touch saves the documents of a tranche as they are: their times and who did
// it change. The v2 document gets no new version.
func (p *Platform) Touch(id, user string) {
	p.change(id, func(t *tranche) {
		version := t.v2.version
		p.touch(t.v1)
		p.touch(t.v2)
		t.v2.version, t.v1.modifiedBy, t.v2.modifiedBy = version, user, user
	})
}

// SetVersion sets the version of a v2 document, as a restore does.
func (p *Platform) SetVersion(id string, version int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.v2Of(id)
	p.touch(d)
	d.version = version
}

// SetLimit sets the only constraint on limits of a tranche, as it is written.
func (p *Platform) SetLimit(id, least, most string) {
	p.change(id, func(t *tranche) {
		t.least, t.most = least, most
		p.touch(t.v2)
	})
}

// Forget makes the platform lose the access controls of a tranche in one
// version, v1 or v2: it answers 404.
func (p *Platform) Forget(id, api string) { p.forbid(id, api, false, true) }

// Forbid makes the platform refuse to show a tranche in one version, v1 or v2,
// or its grants ("grants"), and Allow ends that.
func (p *Platform) Forbid(id, api string) { p.forbid(id, api, true, false) }

// Allow ends what Forbid and Forget began.
func (p *Platform) Allow(id, api string) { p.forbid(id, api, false, false) }

func (p *Platform) forbid(id, api string, forbidden, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tranches[id]; t != nil {
		t.forbidden[api], t.forbidden["gone "+api] = forbidden, gone
		return
	}
	for _, d := range p.deals {
		if d.id == id {
			d.forbidden = forbidden || gone
		}
	}
}

// Grant grants access to a tranche.
func (p *Platform) Grant(id string, g Grant) {
	p.change(id, func(t *tranche) {
		if !slices.Contains(t.grants, g) {
			t.grants = append(t.grants, g)
		}
	})
}

// Revoke takes a grant back.
func (p *Platform) Revoke(id string, g Grant) {
	p.change(id, func(t *tranche) {
		t.grants = slices.DeleteFunc(t.grants, func(o Grant) bool { return o == g })
	})
}

// Turn writes all sets in another order from now on, members in other cases
// and single objects where there were lists, all of which mean the same.
func (p *Platform) Turn(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turned = on
}

// Wrap makes reads of many want their ids in an object from now on.
func (p *Platform) Wrap(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrapped = on
}

// Issuer says whether the client's firm is an issuer. If it is none, shared
// data is private data, and nothing says so.
func (p *Platform) Issuer(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noIssuer = !on
}

// Allowed sets the scopes that the client may have. Tokens keep those that they
// were given.
func (p *Platform) Allowed(scopes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Scopes = scopes
}

// Reduce makes the identity server leave out scopes that the client may not
// have, instead of refusing to give it a token.
func (p *Platform) Reduce(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reduces = on
}

// Expire ends all tokens.
func (p *Platform) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
}

// Bare says whether errors come without a body; otherwise they are problems
// as ASP.NET Core writes them.
func (p *Platform) Bare(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bare = on
}

// Count returns how often an endpoint was asked; see [Fault].
func (p *Platform) Count(endpoint string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[endpoint]
}

// Counts returns how often each endpoint was asked.
func (p *Platform) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Most returns how many ids were in the largest call.
func (p *Platform) Most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func (p *Platform) change(id string, fn func(*tranche)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tranches[id]; t != nil {
		fn(t)
	}
}

// uuid makes up an id. mu is held.
func (p *Platform) uuid() string {
	a, b := p.rand.Uint64(), p.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}
