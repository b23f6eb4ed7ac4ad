package main

import (
	"bytes"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/schemas"
)

// maxPassword is what bcrypt takes, which the embedded server keeps passwords
// with.
const maxPassword = 72

// rules are those that look at several settings, and at what this version can
// do.
var rules = []func(*loading){
	ingressRules,
	opsRules,
	natsRules,
	embeddedRules,
	externalRules,
	retentionRules,
	outboundRules,
	insecureRules,
	sealRules,
	sourceRules,
}

func ingressRules(l *loading) {
	in := l.cfg.Ingress
	switch mode := ingress.ClientIP(in.ClientIP); mode {
	case ingress.Direct:
		if len(in.TrustedProxies) > 0 {
			l.warnAt("ingress.trusted_proxies", "has no effect with `client_ip: direct`: nobody's word on a caller's address is believed")
		}
	case ingress.Forwarded, ingress.ProxyProtocol:
		if len(in.TrustedProxies) == 0 {
			l.faultAt("ingress.client_ip", "is %s, which needs ingress.trusted_proxies: those whose word on a caller's address is believed", mode)
		} else if err := mode.Check(prefixes(in.TrustedProxies)); err != nil {
			l.faultAt("ingress.trusted_proxies", "%s", err)
		}
	}
}

// shadowed warns of callers who can't push: with X-Forwarded-For the address of
// a trusted proxy is nobody's.
func (l *loading) shadowed() {
	if l.cfg.Ingress.ClientIP != string(ingress.Forwarded) {
		return
	}
	for _, s := range l.cfg.Sources {
		if s.Opened.Push == nil {
			continue
		}
		for _, allowed := range s.Opened.Push.Allow {
			for _, proxy := range l.cfg.Ingress.TrustedProxies {
				if proxy.Bits() <= allowed.Bits() && proxy.Overlaps(allowed) {
					l.warnAt(join(join("sources", s.Name), "push.allow"), "has %s, which can never push: it is in ingress.trusted_proxies", allowed)
				}
			}
		}
	}
}

// prefixes returns settings as what they are.
func prefixes(settings []handlers.Prefix) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(settings))
	for _, p := range settings {
		list = append(list, p.Prefix)
	}
	return list
}

func opsRules(l *loading) {
	ops := l.cfg.Ops
	l.guarded("ops.listen", ops.Listen, ops.TLS != nil, "ops.tls", len(ops.Tokens) > 0, "ops.tokens")
	names := map[string]bool{}
	for i, t := range ops.Tokens {
		l.unique(names, t.Name, join(item("ops.tokens", i), "name"))
		if v := t.Token.Value(); v != "" && len(v) < 16 {
			l.warnAt(join(item("ops.tokens", i), "token"), "is short; use at least 16 random characters, like `openssl rand -hex 24`")
		}
	}
	if collide(l.cfg.Ingress.Listen, ops.Listen) {
		l.faultAt("ops.listen", "is the address of ingress.listen; use another port")
	}
	if collide(l.cfg.NATS.Embedded.Listen, ops.Listen) || collide(l.cfg.NATS.Embedded.Listen, l.cfg.Ingress.Listen) {
		l.faultAt("nats.embedded.listen", "is the address of another listener; use another port")
	}
}

// unique reports a name that is taken.
func (l *loading) unique(names map[string]bool, name, path string) {
	if name != "" && names[name] {
		l.faultAt(path, "is the name of another one")
	}
	names[name] = true
}

// collide reports whether two listeners can't both have what they want.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || hostA == "" || hostB == ""
}

func natsRules(l *loading) {
	nats := l.cfg.NATS
	if nats.URL == "" {
		for key, set := range map[string]bool{
			"tls": nats.TLS != nil, "credentials": nats.Credentials != nil, "nkey": nats.NKey != nil,
			"user": nats.User != "", "password": nats.Password != nil,
		} {
			if set {
				l.faultAt(join("nats", key), "is for a server at nats.url, which is empty")
			}
		}
		if nats.Replicas > 1 {
			l.faultAt("nats.replicas", "must be 1 with the embedded server")
		}
		return
	}
	var ways []string
	for key, set := range map[string]bool{
		"credentials": nats.Credentials != nil, "nkey": nats.NKey != nil, "user": nats.User != "",
	} {
		if set {
			ways = append(ways, key)
		}
	}
	if len(ways) > 1 {
		l.faultAt("nats.url", "has more than one way to log in; keep one of credentials, nkey and user")
	}
	if c := nats.Credentials; c != nil && c.File == "" {
		// It is read again at every connect, so that it may be replaced.
		l.faultAt("nats.credentials", "must be a file: {file: PATH}")
	}
	if nats.User != "" && nats.Password == nil {
		l.faultAt("nats.password", "is missing beside nats.user")
	}
	if nats.User == "" && nats.Password != nil {
		l.faultAt("nats.user", "is missing beside nats.password")
	}
}

func embeddedRules(l *loading) {
	nats := l.cfg.NATS
	if nats.URL != "" {
		if len(nats.Embedded.Users) > 0 {
			l.faultAt("nats.embedded.users", "can't stand beside nats.url: the server there has its own users")
		}
		if nats.Embedded.Listen != "" {
			l.faultAt("nats.embedded.listen", "can't stand beside nats.url: no server is embedded then")
		}
		return
	}
	in := nats.Embedded
	if in.Listen == "" {
		if len(in.Users) > 0 {
			l.warnAt("nats.embedded.users", "has no effect while nats.embedded.listen is empty")
		}
		return
	}
	names := map[string]bool{}
	for i, u := range in.Users {
		path := item("nats.embedded.users", i)
		l.unique(names, u.Name, join(path, "name"))
		if u.Name == schemas.ReservedSource || u.Name == "guest" {
			l.faultAt(join(path, "name"), "is a reserved name; choose another one")
		}
		if len(u.Password.Value()) > maxPassword {
			l.faultAt(join(path, "password"), "must have at most %d bytes", maxPassword)
		}
	}
	l.guarded("nats.embedded.listen", in.Listen, in.TLS != nil, "nats.embedded.tls", len(in.Users) > 0, "nats.embedded.users")
}

// guarded reports a listener that other machines reach without TLS or without
// knowing who calls.
func (l *loading) guarded(path, listen string, hasTLS bool, tlsKey string, hasUsers bool, usersKey string) {
	if isLoopback(listen) {
		return
	}
	var needs []string
	if !hasTLS {
		needs = append(needs, tlsKey)
	}
	if !hasUsers {
		needs = append(needs, usersKey)
	}
	if len(needs) > 0 {
		l.faultAt(path, "is reachable from other machines and needs %s; or listen on 127.0.0.1", enumerate(needs, "and"))
	}
}

// externalRules: receivers that share a server must share their keys, or none
// can open what another one sealed.
func externalRules(l *loading) {
	if l.cfg.NATS.URL == "" {
		return
	}
	if len(l.cfg.Seal.Keys) == 0 {
		l.faultAt("seal.keys", "must not be empty beside nats.url: all receivers need the same")
	}
	if l.cfg.Pseudonyms.Key == nil {
		l.faultAt("pseudonyms.key", "is missing beside nats.url: all receivers need the same")
	}
}

func retentionRules(l *loading) {
	nats := l.cfg.NATS
	for _, r := range []struct {
		key string
		Keep
	}{
		{"events", nats.Retention.Events},
		{"restricted", nats.Retention.Restricted},
		{"raw", nats.Retention.Raw},
		{"ops", nats.Retention.Ops},
		{"quarantine", Keep{MaxBytes: nats.Retention.Quarantine.MaxBytes}},
	} {
		if r.Age > 0 && r.Age < nats.DedupeWindow {
			l.faultAt("nats.retention."+r.key+".age", "must be at least nats.dedupe_window")
		}
	}
	store := bus.Config{MaxStore: int64(nats.Embedded.MaxStore), MaxBytes: nats.Retention.maxBytes()}
	if room := store.Room(); nats.URL == "" && room > store.MaxStore {
		l.faultAt("nats.retention", "has max_bytes that leave too little of nats.embedded.max_store for the other streams: together they take %d MiB", room>>20)
		return
	}
	// A stream that one push can fill would stop all that come behind it.
	need := storedPushes * int64(l.cfg.Ingress.MaxBody)
	for _, s := range []schemas.Stream{schemas.StreamEvents, schemas.StreamRestricted, schemas.StreamRaw, schemas.StreamQuarantine} {
		if limit := store.Limit(s); limit < need {
			l.faultAt("nats.embedded.max_store", "leaves %s with room for less than %d pushes of ingress.max_body; raise it, or the stream's max_bytes", s, storedPushes)
			return
		}
	}
}

// storedPushes is how many of the largest pushes each stream must be able to
// hold.
const storedPushes = 2

// maxBytes returns the limits that are set, by stream.
func (r Retention) maxBytes() map[schemas.Stream]int64 {
	limits := map[schemas.Stream]int64{}
	for s, limit := range map[schemas.Stream]handlers.Size{
		schemas.StreamEvents:     r.Events.MaxBytes,
		schemas.StreamRestricted: r.Restricted.MaxBytes,
		schemas.StreamRaw:        r.Raw.MaxBytes,
		schemas.StreamOps:        r.Ops.MaxBytes,
		schemas.StreamQuarantine: r.Quarantine.MaxBytes,
	} {
		if limit > 0 {
			limits[s] = int64(limit)
		}
	}
	return limits
}

func outboundRules(l *loading) {
	proxy := l.cfg.Outbound.Proxy
	u, err := url.Parse(proxy)
	if proxy != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		l.faultAt("outbound.proxy", "must be http://HOST:PORT or https://HOST:PORT, without a user")
	}
}

func insecureRules(l *loading) {
	if l.cfg.Insecure {
		l.warnAt("insecure", "is true: settings are allowed that let anybody push")
	}
}

func sealRules(l *loading) {
	for i, s := range l.cfg.Seal.Keys {
		l.sealKeys = append(l.sealKeys, l.key(s, item("seal.keys", i)))
	}
	if s := l.cfg.Pseudonyms.Key; s != nil {
		key := l.key(*s, "pseudonyms.key")
		if slices.ContainsFunc(l.sealKeys, func(k []byte) bool { return k != nil && bytes.Equal(k, key) }) {
			l.faultAt("pseudonyms.key", "must not be a seal key: that one rotates, this one doesn't")
		}
	}
	first := map[string]int{}
	for i, key := range l.sealKeys {
		if len(key) == 0 {
			continue
		}
		if before, twice := first[string(key)]; twice {
			l.faultAt(item("seal.keys", i), "is the same key as number %s", strconv.Itoa(before+1))
			continue
		}
		first[string(key)] = i
	}
}

func sourceRules(l *loading) {
	if len(l.drafts) == 0 && len(l.problems) == 0 {
		l.warnAt("sources", "is empty: nothing is received")
	}
}
