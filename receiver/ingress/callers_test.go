package ingress_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/receiver/ingress"
)

// Who is behind the proxies of these tests.
const (
	proxy    = "127.0.1.1" // trusted, as is all of 127.0.1.0/24
	proxy2   = "127.0.1.2"
	proxy3   = "127.0.1.3"   // and on the list of source one as well
	partner  = "203.0.113.7" // on the list of source one, as is friend
	partner6 = "2001:db8::7"
	attacker = "198.51.100.66" // on no list
)

// verdict is what becomes of a push.
type verdict string

const (
	served  verdict = "served"  // 200, and kept
	refused verdict = "refused" // 403, before the body
	broken  verdict = "broken"  // 400: no HTTP
	ended   verdict = "ended"   // without an answer
)

// call is a push to /hooks/one, and what must become of it.
type call struct {
	name   string
	server string // a name of gates
	from   string // the socket's address
	head   []string
	pause  time.Duration // between pieces of head
	lines  []string      // of the HTTP header
	tls    bool
	silent bool // says nothing after head
	want   verdict
}

// xff returns header lines.
func xff(values ...string) []string {
	lines := make([]string, 0, len(values))
	for _, v := range values {
		lines = append(lines, "X-Forwarded-For: "+v)
	}
	return lines
}

// gates starts a server of each kind.
func gates(t *testing.T) map[string]*gate {
	t.Helper()
	f := newFiles(t)
	cert, key := selfSigned(t, time.Now().Add(time.Hour))
	f.write(t, cert, key)
	shown, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*gate{}
	for _, kind := range []struct {
		name, listen string
		mode         ingress.ClientIP
		tls          bool
	}{
		{"direct", "127.0.0.1:0", ingress.Direct, false},
		{"direct6", "[::]:0", "", false},
		{"forwarded", "127.0.0.1:0", ingress.Forwarded, false},
		{"forwarded6", "[::]:0", ingress.Forwarded, false},
		{"forwardedTLS", "127.0.0.1:0", ingress.Forwarded, true},
		{"proxy", "127.0.0.1:0", ingress.ProxyProtocol, false},
		{"proxy6", "[::]:0", ingress.ProxyProtocol, false},
		{"proxyTLS", "127.0.0.1:0", ingress.ProxyProtocol, true},
	} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", kind.listen)
		if err != nil {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		g := openOn(t, l, func(c *ingress.Config) {
			for _, p := range []string{partner + "/32", partner6 + "/128", proxy3 + "/32"} {
				c.Sources[0].Push.Allow = append(c.Sources[0].Push.Allow, netip.MustParsePrefix(p))
			}
			c.ClientIP = kind.mode
			if kind.mode == ingress.Forwarded || kind.mode == ingress.ProxyProtocol {
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24"), netip.MustParsePrefix("2001:db8:ff::/48")}
			}
			if kind.tls {
				c.Certificate = shown
			}
		})
		_, port, _ := net.SplitHostPort(g.addr)
		g.addr = "127.0.0.1:" + port
		all[kind.name] = g
	}
	return all
}

// TestWhoCalls makes every call over a socket of its own.
func TestWhoCalls(t *testing.T) {
	t.Parallel()
	all := gates(t)
	calls := slices.Concat(directCalls(), forwardedCalls(), proxyCalls(), badAnnouncements())
	var spoofs, lost, kept int
	t.Run("calls", func(t *testing.T) {
		// At once: those who say nothing are waited for, and not only by us.
		results := make([]chan verdict, len(calls))
		for i, c := range calls {
			results[i] = make(chan verdict, 1)
			go func() {
				defer close(results[i])
				if g := all[c.server]; g != nil {
					results[i] <- c.make(t, g, fmt.Sprintf("ok a%d", i))
				}
			}()
		}
		names := map[string]bool{}
		for i, c := range calls {
			name := c.server + "/" + c.name
			if names[name] {
				t.Errorf("two calls are %s", name)
			}
			names[name] = true
			t.Run(name, func(t *testing.T) {
				got, ok := <-results[i]
				if !ok {
					t.Skip("not called; is there no IPv6 here?")
				}
				switch {
				case got == served && c.want != served:
					spoofs++
				case got != served && c.want == served:
					lost++
				}
				if got == served {
					kept++
				}
				if got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		}
	})
	inJournals := 0
	for _, g := range all {
		inJournals += len(g.journal.kept())
	}
	t.Logf("%d calls: %d accepted, %d accepted spoofs, %d legitimate callers refused", len(calls), kept, spoofs, lost)
	if inJournals != kept {
		t.Errorf("%d pushes are in the journals, %d were answered 200", inJournals, kept)
	}
}

// patience is how long who is to be refused waits with its body.
const patience = 4 * time.Second

// make makes the call. Who is to be refused keeps the body back, for which
// nobody may wait, and sends it late: should it be let in, that shows.
func (call call) make(t *testing.T, g *gate, body string) verdict {
	t.Helper()
	c := g.dial(t, call.from)
	for i, piece := range call.head {
		if i > 0 {
			<-time.After(max(call.pause, 20*time.Millisecond)) // so that it comes on its own
		}
		if _, err := io.WriteString(c, piece); err != nil {
			return ended
		}
	}
	if call.silent {
		return outcomeOn(t, c)
	}
	if call.tls {
		secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if err := secure.HandshakeContext(t.Context()); err != nil {
			return ended
		}
		c = secure
	}
	request := "POST /hooks/one HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(call.lines, ""), "\r\n")
	if !strings.Contains(request, "chunked") {
		request += fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
		if call.want == served {
			request += body
		} else {
			late := time.AfterFunc(patience, func() { _, _ = io.WriteString(c, body) })
			defer func() {
				if !late.Stop() {
					t.Errorf("%s/%s was answered after its body", call.server, call.name)
				}
			}()
		}
	}
	_, _ = io.WriteString(c, request) // it may be closed already
	return outcomeOn(t, c)
}

// outcomeOn reads what the server answers.
func outcomeOn(t *testing.T, c net.Conn) verdict {
	t.Helper()
	r := bufio.NewReader(c)
	if _, err := r.Peek(1); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // it is not wrapped
			t.Error("neither answered nor closed")
		}
		return ended
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		return served
	case http.StatusForbidden:
		return refused
	case http.StatusBadRequest:
		return broken
	default:
		return verdict(resp.Status)
	}
}

// directCalls: who calls is who is at the other end of the socket.
func directCalls() []call {
	calls := []call{
		{name: "friend", from: friend, want: served},
		{name: "neighbor", from: neighbor, want: refused},
		{name: "stranger", from: stranger, want: refused},
		{name: "what would be a proxy elsewhere, on the list", from: proxy3, want: served},
		{name: "next to a friend", from: "127.0.0.4", want: refused},
		{name: "friend with a forwarded stranger", from: friend, lines: xff(attacker), want: served},
		{name: "friend with a forwarded nonsense", from: friend, lines: xff("a, b:1,,"), want: served},
		{name: "what would be a proxy elsewhere", from: proxy, lines: xff(partner), want: refused},
		{name: "stranger with two headers", from: stranger, lines: xff(friend, partner), want: refused},
		{name: "stranger with a chain", from: stranger, lines: xff(friend + ", 127.0.0.1"), want: refused},
		{name: "stranger announces a friend", from: stranger, head: []string{v1(friend)}, want: broken},
		{name: "stranger announces a friend in binary", from: stranger, head: []string{v2(friend)}, want: broken},
		{name: "friend announces a friend", from: friend, head: []string{v1(friend)}, want: broken},
		{name: "trusted elsewhere announces a friend", from: proxy, head: []string{v2(friend)}, want: broken},
	}
	for _, name := range []string{
		"X-Forwarded-For", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "CF-Connecting-IP",
		"X-Original-Forwarded-For", "X-Remote-Addr", "X-ProxyUser-Ip", "Client-IP", "Via", "Remote-Addr",
	} {
		calls = append(calls, call{name: "stranger says " + name, from: stranger, lines: []string{name + ": " + friend}, want: refused})
	}
	calls = append(calls, call{name: "stranger says Forwarded", from: stranger, lines: []string{"Forwarded: for=" + friend + ";by=127.0.0.1"}, want: refused})
	for i := range calls {
		calls[i].server = "direct"
	}
	return append(calls,
		call{server: "direct6", name: "friend", from: friend, want: served},
		call{server: "direct6", name: "stranger", from: stranger, want: refused},
		call{server: "direct6", name: "stranger says X-Forwarded-For", from: stranger, lines: xff(friend), want: refused},
	)
}
