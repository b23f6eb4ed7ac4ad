// Package handlers is the contract between Postern and the platforms it hears
// from. A platform is a folder below this one: it authenticates what the
// platform pushes and translates what the platform says into the vocabulary of
// package schemas. A platform imports this package and schemas, and neither
// Echo nor NATS nor the file system: it sees bytes and returns values.
package handlers

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// Platform is what a subfolder offers. Its name is what `platform:` says in
// the configuration of a source.
type Platform struct {
	Name string

	// Settings returns a pointer to a new struct with the platform's defaults.
	// The configuration of a source is decoded into it strictly, by its yaml
	// tags, and validated by its validate tags.
	Settings func() any

	// Open makes a source of settings that were decoded and validated, which
	// later uses means, and no other way, to reach others. It fails if
	// something that authenticates is missing. It does no I/O.
	Open func(name string, settings any, means Means) (Source, error)

	// Normalize translates a delivery. It is pure: the same delivery gives the
	// same output on every machine, at any time, whatever the configuration.
	// It fails with an *UnusableError if the delivery can't become events.
	// It is safe for concurrent use.
	Normalize func(Delivery) (Output, error)
}

// Means are what a source may use of the world around it.
type Means struct {
	// Fetch gets certificates, and an answer to what is confirmed. Without it
	// nothing is fetched, nor confirmed.
	Fetch Fetch
	// Roots are those that this machine trusts. Nil: it trusts nobody.
	Roots *x509.CertPool
	// Client reaches the platform's API for this source: bounded in time and
	// in the size of answers, with a User-Agent, counted by [Endpoint], and
	// with credentials only to the host that they were sent to.
	Client *http.Client
	// Pseudonym replaces a personal value: HMAC-SHA-256 under the receiver's
	// pseudonym key, base64url, 22 characters. The same value gives the same.
	Pseudonym func(value string) string
}

// Fetch returns what is at an https URL, which its caller has checked: it may
// come from somebody who is not trusted yet. It reaches public addresses only,
// follows no redirect, and ends with ctx. The error wraps [ErrNotThere] if the
// host says that there is nothing, and holds nothing of the URL's path. It may
// be called again, and is safe for concurrent use.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// ErrNotThere is wrapped by the error of a [Fetch] whose URL leads to nothing.
var ErrNotThere = errors.New("not there")

// Confirm tells a platform that a subscription is wanted, of which a delivery
// says that it waits to be confirmed. The delivery was authenticated when it
// came; what it asks for is checked again. Confirm returns nil only if the
// platform said that the subscription is confirmed. It may be repeated, and is
// safe for concurrent use. The error wraps [ErrNotThere] or is a *RefusedError
// if trying again is of no use. It holds nothing of the delivery.
type Confirm func(ctx context.Context, d Delivery) error

// Source is a configured platform.
type Source struct {
	Name     string
	Platform string
	Push     *Push // nil if the source does not push
	Pollers  []Poller
	FollowUp *FollowUp // nil if no event is followed up
	History  History   // nil if the platform keeps none
	// Reconcile says how often the history is compared with the bus.
	Reconcile Reconcile
	Warnings  []string
	// Expires returns when the first of the source's tokens ends, as
	// [Session.Expires] does. Nil if it has none. It is safe for concurrent use.
	Expires func() time.Time
	Probe   Probe // nil if there is no API to ask
}

// Push is the part of a source that receives.
type Push struct {
	// Allow lists who may call. It is never empty.
	Allow   []netip.Prefix
	Webhook Webhook
	// ClientCAs issue the TLS certificates of which a caller must show one.
	// Nil: it needs none.
	ClientCAs []*x509.Certificate
	// Certificates are those that verify pushes, for their expiry metrics.
	Certificates []Certificate
	// Signature says how pushes are authenticated, in a word of the settings.
	Signature string
	// Topics are those of which pushes are accepted.
	Topics []string
	// Confirm confirms subscriptions. Nil: somebody has to do it elsewhere.
	Confirm Confirm
	// ConfirmUnasked says that nobody is asked before a subscription is
	// confirmed.
	ConfirmUnasked bool
}

// Certificate says when a certificate ends.
type Certificate struct {
	Name     string
	NotAfter time.Time
}

// A Webhook authenticates what a platform pushes. Its methods do not
// normalize, do no file I/O, and are safe for concurrent use. They may wait
// for what [Means.Fetch] gets, but no longer than a few seconds.
type Webhook interface {
	// Authenticate returns what r is, or why it is not accepted: an error that
	// is a *RefusedError if a check was made and failed, and an
	// *UncheckableError if it could not be made.
	Authenticate(r Request) (Authentic, error)
}

// Request is a push as it arrived.
type Request struct {
	Header   http.Header
	Body     []byte
	Received time.Time
}

// Authentic is a push that a platform vouches for.
type Authentic struct {
	// Role says what kind of push it is, for [Platform.Normalize].
	Role string
	// TransportID is the id that the platform's transport gave it, the same
	// for every repeat; unique within a source.
	TransportID string
	// Content is a hash of what was authenticated. A genuine repeat may
	// differ in what is not.
	Content [32]byte
	// Sent is when the platform sent it, zero if it doesn't say.
	Sent time.Time
	// Stale says that it is too old or too far in the future to be believed.
	Stale bool
}

// Delivery is what a platform told us, and all that Normalize needs to
// understand it.
type Delivery struct {
	ID       string // the same on every receiver
	Source   string
	Platform string
	Channel  schemas.Channel
	Role     string
	Owner    string // whose login heard it, for polled platforms
	View     string // which view of the platform it is, for polled platforms
	Received time.Time
	Sent     time.Time // zero if the transport doesn't say
	Stale    bool
	Conflict bool // its transport id came before, with other content
	// Changes says that the payload is a [Change]: it holds only as long as
	// the entry that it is based on.
	Changes bool
	// Release says that an operator took it out of quarantine: then neither
	// Stale nor Conflict keeps it from being told. Nil if nobody did.
	Release *Release
	Payload []byte
}

// Release is an operator's decision to have a delivery in quarantine
// translated again.
type Release struct {
	Record uint64         // sequence of the record on POSTERN_QUARANTINE
	Reason schemas.Reason // why it was put there
	Actor  string         // who decided
	Time   time.Time      // when
	Action string         // id of the decision, which can be a part of an event id
}

// Output is what a delivery became.
type Output struct {
	Events []schemas.Event
	Drift  []schemas.Drift // what the vocabulary doesn't know, in an order that is always the same
}

// Reason says which check a push failed.
type Reason string

// The reasons.
const (
	ReasonTopic       Reason = "topic"
	ReasonSignature   Reason = "signature"
	ReasonCertificate Reason = "certificate"
	ReasonHeader      Reason = "header"
	// The last two are no checks: it could not be checked at all, and it was
	// too large to be read.
	ReasonUnverifiable Reason = "unverifiable"
	ReasonSize         Reason = "size"
)

// Refusal is a push that was refused although its caller is allowed.
type Refusal struct {
	Source   string
	Platform string
	Reason   Reason
	Detail   string // what was wrong, without anything of the push
	Remote   netip.Addr
	Received time.Time
	Header   http.Header
	Body     []byte // nil if it was not read
}

// RefusedError says that a check was made and failed: the push is not
// authentic. Its text holds nothing of the push.
type RefusedError struct {
	Reason Reason
	Detail string
}

func (e *RefusedError) Error() string { return "refused, " + string(e.Reason) + ": " + e.Detail }

// UncheckableError says that it could not be checked whether a push is
// authentic, so that the sender should try again. Its text holds nothing of
// the push.
type UncheckableError struct{ Detail string }

func (e *UncheckableError) Error() string { return "can't be checked: " + e.Detail }

// UnusableError says that an authentic delivery can't become events. Its text
// holds nothing of the delivery.
type UnusableError struct {
	Reason schemas.Reason
	Detail string
}

func (e *UnusableError) Error() string { return "unusable, " + string(e.Reason) + ": " + e.Detail }

// ErrNoPush is returned by [Platform.Open] for a source without anything to do.
var ErrNoPush = errors.New("source neither pushes nor polls")
