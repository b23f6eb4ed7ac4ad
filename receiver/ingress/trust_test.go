package ingress_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/receiver/ingress"
)

func TestTrustInNobodyOrEverybodyIsRefused(t *testing.T) {
	list := func(prefixes ...string) (l []netip.Prefix) {
		for _, p := range prefixes {
			l = append(l, netip.MustParsePrefix(p))
		}
		return l
	}
	pieces := func(bits int) (l []netip.Prefix) {
		for i := range 1 << bits {
			l = append(l, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i << (8 - bits))}), bits))
		}
		return l
	}
	for name, tt := range map[string]struct {
		proxies []netip.Prefix
		good    bool
	}{
		"nobody":                  {nil, false},
		"all of IPv4":             {list("0.0.0.0/0"), false},
		"all of IPv6":             {list("::/0"), false},
		"both":                    {list("0.0.0.0/0", "::/0"), false},
		"all beside somebody":     {list("192.0.2.1/32", "::/0"), false},
		"both halves":             {list("0.0.0.0/1", "128.0.0.0/1"), false},
		"both halves of IPv6":     {list("8000::/1", "::/1"), false},
		"a half and two quarters": {list("128.0.0.0/1", "64.0.0.0/2", "0.0.0.0/2"), false},
		"in 256 pieces":           {pieces(8), false},
		"with overlaps":           {append(pieces(3), list("10.0.0.0/8", "0.0.0.0/2")...), false},
		"unmasked":                {list("203.0.113.7/0"), false},
		"no prefix":               {[]netip.Prefix{{}}, false},
		"mapped":                  {[]netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 96)}, false},

		"one":                 {list("192.0.2.1/32"), true},
		"a network":           {list("10.0.0.0/8", "2001:db8::/32"), true},
		"255 of 256 pieces":   {pieces(8)[1:], true},
		"all but one address": {allBut("192.0.2.1"), true},
		"half of each":        {list("0.0.0.0/1", "::/1"), true},
	} {
		for _, mode := range []ingress.ClientIP{ingress.Forwarded, ingress.ProxyProtocol} {
			_, err := ingress.New(nil, ingress.Config{
				Sources: sources(), Journal: &fakeJournal{}, ClientIP: mode, TrustedProxies: tt.proxies,
				Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
			})
			if (err == nil) != tt.good {
				t.Errorf("%s to trust %s: %v", mode, name, err)
			}
		}
		if err := ingress.Direct.Check(tt.proxies); err != nil {
			t.Errorf("direct with %s, whom it doesn't ask: %v", name, err)
		}
	}
	if err := ingress.ClientIP("x-real-ip").Check(list("192.0.2.1/32")); err == nil {
		t.Error("a mode that nobody knows is accepted")
	}
}

// allBut returns everybody who speaks IPv4 except one.
func allBut(except string) (l []netip.Prefix) {
	addr := netip.MustParseAddr(except)
	for bits := 1; bits <= 32; bits++ {
		b := addr.As4()
		b[(bits-1)/8] ^= 0x80 >> ((bits - 1) % 8)
		l = append(l, netip.PrefixFrom(netip.AddrFrom4(b), bits).Masked())
	}
	return l
}

// behind makes a server believe the proxies of these tests.
func behind(mode ingress.ClientIP) func(*ingress.Config) {
	return func(c *ingress.Config) {
		c.ClientIP = mode
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}
		c.Sources[0].Push.Allow = append(c.Sources[0].Push.Allow, netip.MustParsePrefix(partner+"/32"))
	}
}

func TestEachRequestOverAProxysConnectionHasItsOwnCaller(t *testing.T) {
	g := open(t, behind(ingress.Forwarded))
	c := g.dial(t, proxy)
	for i, tt := range []struct {
		caller string
		status int
	}{{partner, 200}, {friend, 200}, {partner, 200}, {attacker, 403}} {
		_, _ = fmt.Fprintf(c, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Length: 5\r\n\r\nok a%d", tt.caller, i)
		h, closed := hear(t, c)
		if h.status != tt.status || closed != (tt.status == 403) {
			t.Errorf("%s heard %d, closed %v", tt.caller, h.status, closed)
		}
	}
	if n := g.count(t, "unknown", "rejected_address"); n != 1 {
		t.Errorf("%v strangers were counted", n)
	}
	if log := g.logs.String(); !strings.Contains(log, `"remote":"`+attacker+`"`) {
		t.Errorf("the log doesn't name the caller: %s", log)
	}
}

func TestCallersWithoutAnAddressAreToldFromStrangers(t *testing.T) {
	g := open(t, behind(ingress.Forwarded))
	h := g.do(t, proxy, http.MethodGet, "/livez", nil, http.Header{"X-Forwarded-For": {partner + ":443"}})
	wantError(t, h, http.StatusForbidden, "forbidden")
	log := g.logs.String()
	if !strings.Contains(log, `"reason":"no_address"`) || !strings.Contains(log, `"remote":"`+proxy+`"`) {
		t.Errorf("log: %s", log)
	}
	if strings.Contains(log, partner) {
		t.Errorf("what nobody believes is in the log: %s", log)
	}
}

func TestConnectionsThatMayNotSpeakAreCountedAndLogged(t *testing.T) {
	g := open(t, behind(ingress.ProxyProtocol))
	for _, addr := range []string{friend, stranger, stranger} {
		eventually(t, "closed", func() bool { return gone(g.dial(t, addr)) })
	}
	before := g.count(t, "unknown", "rejected_address")
	if before < 3 {
		t.Errorf("counted %v", before)
	}
	c := g.dial(t, proxy)
	_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "closed", func() bool { return gone(c) })
	// A proxy that looks whether somebody listens says nothing.
	_ = g.dial(t, proxy).Close()
	if n := g.count(t, "unknown", "rejected_address"); n != before+1 {
		t.Errorf("counted %v, before %v", n, before)
	}
	log := g.logs.String()
	for _, want := range []string{
		`"msg":"connection refused","reason":"untrusted_proxy","remote":"` + friend + `"`,
		`"msg":"connection refused","reason":"proxy_header","remote":"` + proxy + `"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %s: %s", want, log)
		}
	}
	if n := strings.Count(log, "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, log)
	}
}

// announced opens a connection that is announced as addr's and then says a
// little.
func (g *gate) announced(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := g.dial(t, proxy)
	// The server may have closed it already.
	_, _ = io.WriteString(c, v1(addr)+"POST /hooks/one HTTP/1.1\r\nHost:")
	return c
}

// pushAnnounced pushes over a connection of its own.
func (g *gate) pushAnnounced(t *testing.T, addr, body string) heard {
	t.Helper()
	h, _ := g.raw(t, proxy, fmt.Sprintf("%sPOST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", v2(addr), len(body), body))
	return h
}

func TestAnnouncedStrangersShareASmallPool(t *testing.T) {
	g := open(t, func(c *ingress.Config) {
		behind(ingress.ProxyProtocol)(c)
		c.MaxStrangers = 2
	})
	quiet := g.announced(t, partner)
	first := g.announced(t, attacker)
	eventually(t, "the oldest stranger is closed", func() bool {
		g.announced(t, attacker)
		return gone(first)
	})
	if gone(quiet) {
		t.Error("the partner was closed")
	}
}

func TestWhoIsNotAnnouncedStarvesNobodyWhoIs(t *testing.T) {
	g := open(t, func(c *ingress.Config) {
		behind(ingress.ProxyProtocol)(c)
		c.MaxConnections = 20
	})
	for i := range 300 {
		switch i % 3 {
		case 0:
			g.dial(t, proxy)
		case 1:
			_, _ = io.WriteString(g.dial(t, proxy), "PROXY TCP4 203.")
		default:
			g.announced(t, attacker)
		}
		if i%10 != 0 {
			continue
		}
		if h := g.pushAnnounced(t, partner, fmt.Sprintf("ok a%d", i)); h.status != http.StatusOK {
			t.Fatalf("after %d connections a push heard %d", i+1, h.status)
		}
	}
}

func TestWhoIsNotAnnouncedGoesBeforeAFriend(t *testing.T) {
	g := open(t, func(c *ingress.Config) {
		behind(ingress.ProxyProtocol)(c)
		c.MaxConnections = 3
	})
	older := g.announced(t, partner)
	silent := []net.Conn{g.dial(t, proxy), g.dial(t, proxy)}
	<-time.After(200 * time.Millisecond) // until nobody is young any more
	if h := g.pushAnnounced(t, partner, "ok a1"); h.status != http.StatusOK {
		t.Fatalf("heard %d", h.status)
	}
	eventually(t, "the silent one is closed", func() bool { return gone(silent[0]) })
	if gone(older) || gone(silent[1]) {
		t.Error("another one was closed")
	}
}

func TestAProxysConnectionsAreNoStrangers(t *testing.T) {
	g := open(t, func(c *ingress.Config) {
		behind(ingress.Forwarded)(c)
		c.MaxStrangers = 1
	})
	var conns []net.Conn
	for range 5 {
		conns = append(conns, g.half(t, proxy))
	}
	stray := []net.Conn{g.half(t, stranger), g.half(t, stranger)}
	eventually(t, "the older stranger is closed", func() bool { return gone(stray[0]) })
	for _, c := range conns {
		if gone(c) {
			t.Error("a proxy's connection was closed")
		}
	}
}
