// Package tokenytest is a stand-in of Tokeny's T-REX Servicing: it signs
// accounts in, lists the candidates and the holders of tokens, and answers
// errors as the platform does, while its user makes things happen and go wrong.
package tokenytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what a stand-in is made of.
type Options struct {
	Email, Password string // of the one account that it knows
	// Now is its clock. Nil: the machine's.
	Now func() time.Time
	// Seed is what ids and wallets are made up from: the same ones in the same
	// order for the same seed.
	Seed uint64
}

// Life is how long a token lives that a sign-in gives.
const Life = time.Hour

// lockAfter is how many wrong passwords in a row lock the account.
const lockAfter = 5

// Platform is a stand-in of the platform. It is an [http.Handler] and safe for
// concurrent use.
type Platform struct {
	email, password string
	now             func() time.Time

	mu       sync.Mutex
	rand     *rand.Rand
	tokens   map[string]*token
	sessions map[string]time.Time // tokens of sign-ins, and when they end
	wrong    int                  // wrong passwords in a row
	locked   bool
	faults   []Fault
	counts   map[string]int
	lists    int // how many lists were told, for the case of wallets
	pageSize int
}

// token is a token and who wants or has it.
type token struct {
	candidates []*Investor
	holders    []*Investor
}

// Investor is somebody who wants a token.
type Investor struct {
	ID             string // made up if empty
	Email, Name    string
	Type           string // "individual" if empty
	Status         string // "registered" if empty
	KYCStatus      string // "not_checked" if empty
	KYCProvider    string
	Section        string // the section of the onboarding
	Country        string // "LUX" if empty
	Wallet         string
	WalletProvider string // "USER_MANAGED" if there is a wallet and it is empty

	created, login time.Time
	holderStatus   *string
}

// New returns a stand-in that has tokens and nobody who wants them.
func New(o Options, tokens ...string) *Platform {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Platform{
		email: o.Email, password: o.Password, now: o.Now,
		rand:   rand.New(rand.NewPCG(o.Seed, 0)),
		tokens: map[string]*token{}, sessions: map[string]time.Time{}, counts: map[string]int{},
	}
	for _, id := range tokens {
		p.tokens[id] = &token{}
	}
	return p
}

// Add adds a candidate to a token, which is made if it is new, and returns the
// candidate's id.
func (p *Platform) Add(tokenID string, i Investor) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	or := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	or(&i.ID, p.uuid())
	or(&i.Type, "individual")
	or(&i.Status, "registered")
	or(&i.KYCStatus, "not_checked")
	or(&i.Country, "LUX")
	if i.Wallet != "" {
		or(&i.WalletProvider, "USER_MANAGED")
	}
	i.created = p.now()
	i.login = i.created
	t := p.tokens[tokenID]
	if t == nil {
		t = &token{}
		p.tokens[tokenID] = t
	}
	t.candidates = append(t.candidates, &i)
	return i.ID
}

// SetStatus gives an investor another status.
func (p *Platform) SetStatus(tokenID, id, status string) {
	p.change(tokenID, id, func(i *Investor) { i.Status = status })
}

// SetSection puts an investor into another section of the onboarding.
func (p *Platform) SetSection(tokenID, id, section string) {
	p.change(tokenID, id, func(i *Investor) { i.Section = section })
}

// SetKYC gives an investor's KYC another status, and says who performs it.
func (p *Platform) SetKYC(tokenID, id, status, provider string) {
	p.change(tokenID, id, func(i *Investor) { i.KYCStatus, i.KYCProvider = status, provider })
}

// SetWallet gives an investor another wallet.
func (p *Platform) SetWallet(tokenID, id, wallet, provider string) {
	p.change(tokenID, id, func(i *Investor) { i.Wallet, i.WalletProvider = wallet, provider })
}

// Rename gives an investor another name and mail address.
func (p *Platform) Rename(tokenID, id, name, email string) {
	p.change(tokenID, id, func(i *Investor) { i.Name, i.Email = name, email })
}

// Login notes that an investor logged in, which means nothing.
func (p *Platform) Login(tokenID, id string) {
	p.change(tokenID, id, func(i *Investor) { i.login = i.login.Add(time.Minute) })
}

// Promote makes a candidate a holder that is no candidate any more. Nil: the
// list of holders says no status.
func (p *Platform) Promote(tokenID, id string, status *string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tokens[tokenID]
	for k, i := range t.candidates {
		if i.ID == id {
			i.holderStatus = status
			t.candidates = slices.Delete(t.candidates, k, k+1)
			t.holders = append(t.holders, i)
			return
		}
	}
}

// Demote makes a holder a candidate again.
func (p *Platform) Demote(tokenID, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tokens[tokenID]
	for k, i := range t.holders {
		if i.ID == id {
			t.holders = slices.Delete(t.holders, k, k+1)
			t.candidates = append(t.candidates, i)
			return
		}
	}
}

// Remove takes an investor out of both lists. It returns what Add would put
// back.
func (p *Platform) Remove(tokenID, id string) Investor {
	p.mu.Lock()
	defer p.mu.Unlock()
	var gone Investor
	is := func(i *Investor) bool {
		if i.ID == id {
			gone = *i
		}
		return i.ID == id
	}
	t := p.tokens[tokenID]
	t.candidates = slices.DeleteFunc(t.candidates, is)
	t.holders = slices.DeleteFunc(t.holders, is)
	return gone
}

// Return puts back what Remove took out, as it was.
func (p *Platform) Return(tokenID string, i Investor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tokens[tokenID]
	t.candidates = append(t.candidates, &i)
}

// PageBy tells lists in pages of a size from now on, with a link to the next
// one and a count of all. 0 tells them whole, as is documented.
func (p *Platform) PageBy(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pageSize = size
}

// Wallet makes up the address of a wallet, in mixed case.
func (p *Platform) Wallet() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	b.WriteString("0x")
	for range 40 {
		b.WriteByte("0123456789abcdefABCDEF"[p.rand.IntN(22)])
	}
	return b.String()
}

// Unlock lets the account sign in again.
func (p *Platform) Unlock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.locked, p.wrong = false, 0
}

// SetPassword gives the account another password. Tokens stay valid.
func (p *Platform) SetPassword(password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.password = password
}

// Revoke ends all tokens that sign-ins gave.
func (p *Platform) Revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.sessions)
}

// Count returns how often an endpoint was asked: "signin", "candidates" or
// "holders".
func (p *Platform) Count(endpoint string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[endpoint]
}

func (p *Platform) change(tokenID, id string, fn func(*Investor)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tokens[tokenID]
	for _, i := range slices.Concat(t.candidates, t.holders) {
		if i.ID == id {
			fn(i)
		}
	}
}

// uuid makes up an id. mu is held.
func (p *Platform) uuid() string {
	a, b := p.rand.Uint64(), p.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}
