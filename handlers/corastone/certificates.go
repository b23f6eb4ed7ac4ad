package corastone

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
)

const (
	// fetchTime is how long a certificate may take to come, and how long a
	// push waits for one. SNS waits 15 seconds for all.
	fetchTime = 3 * time.Second
	// fetchesAtOnce keeps whoever may push from making us ask Amazon without
	// end.
	fetchesAtOnce = 4
	// keptCertificates is how many certificates are kept that have verified a
	// push, and maxRecent how many other outcomes of a fetch.
	keptCertificates = 16
	maxRecent        = 256
	// How long an outcome is believed before it's asked for again. SNS comes
	// again after 20 seconds, so what failed must be forgotten by then.
	failedFor  = 5 * time.Second
	refusedFor = 30 * time.Second
	unusedFor  = 30 * time.Second
)

// certificates gets, checks and keeps the certificates that envelopes name. A
// URL holds a hash of its certificate's key, so what it leads to doesn't
// change. It is safe for concurrent use.
type certificates struct {
	fetch       handlers.Fetch
	origins     map[string]origin // by topic
	authorities authorities
	slots       chan struct{} // one for each fetch under way

	mu sync.Mutex
	// kept are certificates that have verified a push, the last one first. A
	// forger can make us fetch, but not forget one of these.
	kept   []*certificate
	recent map[string]*fetched // other outcomes, by URL
}

// certificate is one that is issued to SNS, by whom it says.
type certificate struct {
	url  string
	leaf *x509.Certificate
	key  *rsa.PublicKey

	mu    sync.Mutex
	spans []span // in which a chain leads from it to a root
}

// fetched is a fetch under way, or its outcome.
type fetched struct {
	done        chan struct{} // closed when the others are set
	certificate *certificate
	err         error
	forget      time.Time
}

func (f *fetched) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func newCertificates(fetch handlers.Fetch, origins map[string]origin, a authorities) *certificates {
	return &certificates{
		fetch: fetch, origins: origins, authorities: a,
		slots: make(chan struct{}, fetchesAtOnce), recent: map[string]*fetched{},
	}
}

// verify implements the check of [webhook]. Whoever signed the envelope said
// nothing of its SigningCertURL, so that may lead nowhere but to where the
// topic's region keeps its certificates.
func (c *certificates) verify(e *envelope, signed content, at time.Time) error {
	url := e.signingCertURL()
	switch {
	case url == "":
		return uncheckable("SigningCertURL is blank; pin the certificates instead (signature: pinned)")
	case !c.origins[e.TopicARN].allows(url):
		return refused(handlers.ReasonCertificate, "SigningCertURL is not where SNS keeps the certificates of the topic's region")
	}
	s, err := readSignature(e, signed)
	if err != nil {
		return err
	}
	cert, err := c.get(url, c.origins[e.TopicARN].name)
	if err != nil {
		return err
	}
	if err := cert.check(c.authorities, at); err != nil {
		return err
	}
	if !s.by(cert.key) {
		return refused(handlers.ReasonSignature, "the certificate of SigningCertURL does not verify it")
	}
	c.keep(cert)
	return nil
}

// get returns the certificate at url, which waits if it isn't known.
func (c *certificates) get(url, name string) (*certificate, error) {
	cert, f := c.find(url, name)
	if cert != nil {
		return cert, nil
	}
	if f == nil {
		return nil, uncheckable("too many certificates are asked for at once")
	}
	if !f.over() {
		wait := time.NewTimer(fetchTime)
		defer wait.Stop()
		select {
		case <-f.done:
		case <-wait.C:
			return nil, uncheckable("the certificate did not come in time")
		}
	}
	return f.certificate, f.err
}

// find returns the certificate that is kept of url, or its fetch, which it
// starts if there is none; or nothing if there are too many of those.
func (c *certificates) find(url, name string) (*certificate, *fetched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.kept, func(k *certificate) bool { return k.url == url }); i >= 0 {
		return c.kept[i], nil
	}
	now := time.Now()
	if f := c.recent[url]; f != nil && (!f.over() || now.Before(f.forget)) {
		return nil, f
	}
	if !c.room(now) {
		return nil, nil
	}
	f := &fetched{done: make(chan struct{})}
	c.recent[url] = f
	go c.run(f, url, name)
	return nil, f
}

// room makes room for another fetch: it drops what is to be forgotten, else
// what would be next. It reports false if all fetches are under way.
func (c *certificates) room(now time.Time) bool {
	if len(c.recent) < maxRecent {
		return true
	}
	next := ""
	for url, f := range c.recent {
		switch {
		case !f.over():
		case !now.Before(f.forget):
			delete(c.recent, url)
		case next == "" || f.forget.Before(c.recent[next].forget):
			next = url
		}
	}
	if len(c.recent) >= maxRecent {
		delete(c.recent, next)
	}
	return len(c.recent) < maxRecent
}

// run fetches for all who wait. None of them may end it, so it has a time of
// its own.
func (c *certificates) run(f *fetched, url, name string) {
	f.err = uncheckable("the certificate could not be read") // unless something better is known
	defer func() {
		// This reads what others wrote, and nobody else would recover.
		_ = recover()
		f.forget = time.Now().Add(keepFor(f.err))
		close(f.done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		f.err = uncheckable("too many certificates are asked for at once")
		return
	}
	f.certificate, f.err = c.load(ctx, url, name)
}

// keepFor returns how long an outcome is believed.
func keepFor(err error) time.Duration {
	var refused *handlers.RefusedError
	switch {
	case err == nil:
		return unusedFor
	case errors.As(err, &refused):
		return refusedFor
	default:
		return failedFor
	}
}

// load fetches a certificate and reads it. The error holds nothing of url.
func (c *certificates) load(ctx context.Context, url, name string) (*certificate, error) {
	body, err := c.fetch(ctx, url)
	switch {
	case errors.Is(err, handlers.ErrNotThere):
		return nil, refused(handlers.ReasonCertificate, "SigningCertURL leads to nothing")
	case err != nil:
		return nil, uncheckable("the certificate could not be fetched: " + err.Error())
	}
	leaf, problem := readLeaf(body, name)
	if problem != "" {
		return nil, refused(handlers.ReasonCertificate, problem)
	}
	key, err := signingKey(leaf)
	if err != nil {
		return nil, refused(handlers.ReasonCertificate, err.Error())
	}
	return &certificate{url: url, leaf: leaf, key: key}, nil
}

// readLeaf reads the one certificate that body may hold. It must be issued to
// name and not to something like it.
func readLeaf(body []byte, name string) (leaf *x509.Certificate, problem string) {
	block, rest := pem.Decode(body)
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 ||
		!bytes.HasPrefix(body, []byte("-----BEGIN ")) || len(bytes.TrimSpace(rest)) != 0 {
		return nil, "SigningCertURL leads to something else than one PEM certificate"
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return nil, "the certificate can't be read"
	case !slices.Contains(leaf.DNSNames, name):
		return nil, "the certificate is not issued to SNS of the topic's region"
	}
	return leaf, ""
}

// check returns nil if a chain that is valid at a time leads to a root.
func (c *certificate) check(a authorities, at time.Time) error {
	if !spanOf(c.leaf).holds(at) {
		return refused(handlers.ReasonCertificate, "the certificate was not valid when the push was sent")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.spans, func(s span) bool { return s.holds(at) }) {
		return nil
	}
	spans, err := a.chains(c.leaf, at)
	if err != nil {
		return refused(handlers.ReasonCertificate, "no root that is trusted stands behind the certificate; an intermediate may be missing in push.ca_bundle")
	}
	// Each new span holds a time that none before it held, so that there are
	// not more than the authorities' dates make.
	c.spans = append(c.spans, spans...)
	return nil
}

// keep notes that cert has verified a push.
func (c *certificates) keep(cert *certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch i := slices.IndexFunc(c.kept, func(k *certificate) bool { return k.url == cert.url }); {
	case i == 0:
		return
	case i > 0:
		c.kept = slices.Delete(c.kept, i, i+1)
	}
	delete(c.recent, cert.url)
	c.kept = slices.Insert(c.kept, 0, cert)
	if len(c.kept) > keptCertificates {
		c.kept = slices.Delete(c.kept, keptCertificates, len(c.kept))
	}
}
