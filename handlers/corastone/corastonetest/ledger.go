package corastonetest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Organisations of a ledger: whose node it is, and its counterparty.
const (
	OurOrg   = "WLTH1" // an investing organisation
	OurName  = "Stand-in Wealth"
	Issuer   = "ISSR1" // an asset manager
	IssuerIs = "Stand-in Asset Management"
)

// Options say how a ledger is.
type Options struct {
	// Now is its clock. nil: time.Now.
	Now func() time.Time
	// Seed decides its ids: two ledgers of the same seed to which the same
	// happens at the same time are the same.
	Seed uint64
	// Tell gets what the node notifies of, in order. It is called without a
	// lock of the ledger held. nil: nobody is told.
	Tell func(Entry)
	// Interim has it notify of transactions that are queued or in progress
	// too; else only of those that ended.
	Interim bool
	// TokenLife is how long tokens are good. 0: an hour.
	TokenLife time.Duration
}

// Ledger is a stand-in of Corastone as the node of [OurOrg] sees it: offerings,
// subscriptions and assignments that go as [corastone.SecurityTransitions],
// [corastone.AssetTransitions] and [corastone.AssignmentTransitions] say, the
// transactions that change them, and the reads of the Integration API, which
// it serves as an [http.Handler]. Nothing of it is kept anywhere. It is safe
// for concurrent use.
type Ledger struct {
	options Options
	channel string // as pushes write it: in lower case

	mu     sync.Mutex
	rand   *rand.Rand
	block  int64
	outbox []Entry

	orgs        map[string]string // names by id
	securities  []*security
	assets      []*asset
	assetByID   map[string]*asset
	assignments []*assignment
	comments    []*comment
	history     []historyRow // of assets
	chronicle   []historyRow // of offerings

	transactions   []*transaction
	byProcess      map[string]*transaction
	orchestrations []*orchestration
	errors         []*loggedError
	sequence       sequence
	granted        []grant

	reads   map[string]read
	clients map[string]*oauthClient
	tokens  map[string]token
	faults  []*Fault
	asked   map[string][]url.Values
}

var _ http.Handler = (*Ledger)(nil)

// NewLedger returns a ledger on which nothing has happened, with one OAuth
// client: see [Ledger.AddClient].
func NewLedger(o Options) *Ledger {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	return &Ledger{
		options:   o,
		channel:   Topic[strings.LastIndexByte(Topic, '-')+1:],
		rand:      rand.New(rand.NewPCG(o.Seed, 1)),
		block:     2000,
		orgs:      map[string]string{OurOrg: OurName, Issuer: IssuerIs},
		assetByID: map[string]*asset{},
		byProcess: map[string]*transaction{},
		reads:     reads(),
		clients:   map[string]*oauthClient{},
		tokens:    map[string]token{},
		asked:     map[string][]url.Values{},
	}
}

// AddOrg makes another organisation known.
func (l *Ledger) AddOrg(id, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orgs[id] = name
}

// do changes the ledger, and then tells what there is to tell.
func (l *Ledger) do(change func() (Receipt, error)) (Receipt, error) {
	l.mu.Lock()
	receipt, err := change()
	told := l.outbox
	l.outbox = nil
	l.mu.Unlock()
	if l.options.Tell != nil {
		for _, e := range told {
			l.options.Tell(e)
		}
	}
	return receipt, err
}

// now returns the time with the precision that the API has.
func (l *Ledger) now() time.Time { return l.options.Now().UTC().Truncate(time.Millisecond) }

func (l *Ledger) bytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(l.rand.UintN(256))
	}
	return b
}

// id makes up an id of an asset, offering, file or the like: 12 characters.
func (l *Ledger) id() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := l.bytes(12)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

func (l *Ledger) uuid() string {
	b := l.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// place returns the next place on the ledger.
func (l *Ledger) place() *Place {
	l.block++
	return &Place{BlockNumber: l.block, ChannelName: l.channel, TransactionID: hex.EncodeToString(l.bytes(32))}
}

// format writes a time as the API does.
func format(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(TimeLayout)
}

// AssetStatus returns a subscription's status, "" if there is none.
func (l *Ledger) AssetStatus(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.assetByID[id]; a != nil {
		return a.status
	}
	return ""
}

// SecurityStatus returns an offering's status, "" if there is none.
func (l *Ledger) SecurityStatus(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.security(id); s != nil {
		return s.status
	}
	return ""
}

// AssignmentStatus returns the status of an organisation on an offering's
// exclusivity list, "" if it never was on it.
func (l *Ledger) AssignmentStatus(securityID, org string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.assignment(securityID, org); a != nil {
		return a.status
	}
	return ""
}

// Processes returns the transactions that we may see, in the order in which
// they began, as the Sequencer has them.
func (l *Ledger) Processes() []Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Process
	for _, t := range l.transactions {
		if !t.hidden {
			out = append(out, t.row())
		}
	}
	return out
}

// Entries returns what we may see, in the order and as the Sequencer has it
// now: what a receiver is to know in the end.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Entry
	for _, r := range l.sequence.between(time.Time{}, l.now()) {
		if r.visible() {
			out = append(out, r.entry())
		}
	}
	return out
}

// Asked returns the queries that an endpoint was asked, in order, those that a
// fault answered included.
func (l *Ledger) Asked(endpoint string) []url.Values {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked[endpoint])
}
