// Package concedustest is a stand-in of Concedus' API: it logs in, renews and
// forgets tokens, keeps the lists of the tied agent and of the issuers, and
// compliance statuses. Things happen when its methods say so, and faults when
// they are ordered. It is for tests and demonstrations.
package concedustest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// TokenLife is how long a token lives.
const TokenLife = 4 * time.Minute

// Contract is a contract as the stand-in shows it. Empty texts are left out of
// its lists; Share and Agio are JSON numbers, 0 if empty.
type Contract struct {
	Key          string
	Type         string // "": PV and the stage of its list
	Product      string
	InvestorName string
	Share, Agio  string
	Signed       string
	Created      string
	// Updated is what the list says of when it was updated. "": by the clock,
	// whenever something happens to it.
	Updated string
	// More are members that nobody documented, as JSON.
	More map[string]string
}

// Server is the stand-in. Its methods are safe for concurrent use.
type Server struct {
	// How it answers. Not to be changed while it does.
	PageSize    int  // the largest page that it gives, 0: any
	SumsPerPage bool // summaries are of a page, not of the list
	PascalCase  bool // members are written with a capital
	Windows1252 bool // texts are written in another encoding than JSON's

	now func() time.Time

	mu       sync.Mutex // guards what follows
	accounts map[string]account
	tokens   map[string]session
	refresh  map[string]session
	serial   int
	lists    map[string][]*item // by owner, "" for the agent's
	statuses map[string]status
	faults   []*Fault
	counts   map[string]int
	asked    map[string][]time.Time // for the status of a contract
	turned   func(endpoint string, page int)
}

// account is a login.
type account struct {
	password string
	owner    string
	agent    bool
}

// session is what a token stands for.
type session struct {
	username string
	ends     time.Time
}

type item struct {
	Contract
	at time.Time
}

type status struct {
	code     int
	modified string
	notes    string
}

// New returns a stand-in without accounts and contracts. Its clock is now, nil
// for time.Now.
func New(now func() time.Time) *Server {
	if now == nil {
		now = time.Now
	}
	return &Server{
		now: now, accounts: map[string]account{}, tokens: map[string]session{}, refresh: map[string]session{},
		lists: map[string][]*item{}, statuses: map[string]status{}, counts: map[string]int{}, asked: map[string][]time.Time{},
	}
}

// Agent makes the tied agent's account.
func (s *Server) Agent(username, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[username] = account{password: password, agent: true}
}

// Issuer makes the account of a product owner.
func (s *Server) Issuer(owner, username, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[username] = account{password: password, owner: owner}
}

// Release puts contracts on the agent's list, with the compliance status 100.
func (s *Server) Release(contracts ...Contract) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range contracts {
		s.put("", c)
		s.statuses[c.Key] = status{code: 100, modified: s.stamp()}
	}
}

// Submit has the agent approve a contract: it leaves the agent's list and
// enters an owner's.
func (s *Server) Submit(key, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.take("", key)
	if !ok {
		c = Contract{Key: key, Share: "1"}
	}
	if c.Created == "" {
		c.Created = s.now().In(time.FixedZone("", 3600)).Format(time.RFC3339)
	}
	s.put(owner, c)
}

// Enter puts a contract on an owner's list, or the agent's for "".
func (s *Server) Enter(owner string, c Contract) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(owner, c)
}

// Leave takes a contract off all lists.
func (s *Server) Leave(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for owner := range s.lists {
		s.take(owner, key)
	}
}

// Change changes a contract on all lists that it is on.
func (s *Server) Change(key string, change func(*Contract)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.lists {
		for _, it := range list {
			if it.Key == key {
				change(&it.Contract)
				it.at = s.now()
			}
		}
	}
}

// SetCompliance sets the compliance status of a contract. 0: it has no record.
func (s *Server) SetCompliance(key string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, status{code: code, modified: s.stamp()})
}

// Note sets the compliance status of a contract with notes and a time as it is
// written.
func (s *Server) Note(key string, code int, modified, notes string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, status{code: code, modified: modified, notes: notes})
}

func (s *Server) set(key string, st status) {
	if st.code == 0 {
		delete(s.statuses, key)
		return
	}
	s.statuses[key] = st
}

// Reject has a contract rejected with a code from 300 to 303: it leaves all
// lists.
func (s *Server) Reject(key string, code int) {
	s.SetCompliance(key, code)
	s.Leave(key)
}

// Contracts returns the keys of the contracts on an owner's list, or the
// agent's for "", as the list shows them.
func (s *Server) Contracts(owner string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, it := range s.sorted(owner) {
		keys = append(keys, it.Key)
	}
	return keys
}

// Turned has fn called after each page of a list, before it is sent. Nil: none.
func (s *Server) Turned(fn func(endpoint string, page int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turned = fn
}

// Count returns how often an endpoint was asked.
func (s *Server) Count(endpoint string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[endpoint]
}

// Asked returns when the compliance status of a contract was asked for.
func (s *Server) Asked(key string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked[key])
}

// Expire ends all tokens at once, before their time.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Forget ends all refresh tokens.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.refresh)
}

// Secrets returns all passwords and tokens that it knows: what must be found
// nowhere else.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	secrets := slices.Concat(slices.Collect(maps.Keys(s.tokens)), slices.Collect(maps.Keys(s.refresh)))
	for _, a := range s.accounts {
		secrets = append(secrets, a.password)
	}
	return secrets
}

// put, take and sorted are called with mu held.
func (s *Server) put(owner string, c Contract) {
	s.take(owner, c.Key)
	s.lists[owner] = append(s.lists[owner], &item{Contract: c, at: s.now()})
}

func (s *Server) take(owner, key string) (Contract, bool) {
	i := slices.IndexFunc(s.lists[owner], func(it *item) bool { return it.Key == key })
	if i < 0 {
		return Contract{}, false
	}
	c := s.lists[owner][i].Contract
	s.lists[owner] = slices.Delete(s.lists[owner], i, i+1)
	return c, true
}

// sorted returns a list as it is shown: the latest first.
func (s *Server) sorted(owner string) []*item {
	list := slices.Clone(s.lists[owner])
	slices.SortStableFunc(list, func(a, b *item) int {
		if d := b.at.Compare(a.at); d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return list
}

// stamp is how compliance records write times: without a zone, but local.
func (s *Server) stamp() string {
	return s.now().Format("2006-01-02T15:04:05-0700")
}

// token makes a login's two tokens. mu is held.
func (s *Server) token(username string) (access, refresh string, ends time.Time) {
	s.serial++
	ends = s.now().Add(TokenLife)
	access = fmt.Sprintf("eyJhbGciOiJub25lIn0.stand-in-access-%06d.", s.serial)
	refresh = fmt.Sprintf("stand+in/refresh-%06d==", s.serial)
	s.tokens[access] = session{username, ends}
	s.refresh[refresh] = session{username: username}
	return access, refresh, ends
}
