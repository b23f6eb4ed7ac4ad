package deploy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// proxy is a proxy that runs with its sample.
type proxy struct {
	name     string
	clientIP string // what the receiver behind it is told
	start    func(t *testing.T, secrets, ingress, ops string) (address string)
}

func proxies() []proxy {
	return []proxy{
		{"nginx", "forwarded", startNginx},
		{"haproxy", "proxy-protocol", startHAProxy},
	}
}

// startNginx runs nginx in front of the ingress at an address.
func startNginx(t *testing.T, secrets, ingress, _ string) string {
	t.Helper()
	nginx := tool(t, "nginx", "nginx")
	dir := t.TempDir()
	address := freeAddress(t)
	site := write(t, dir, "postern.conf", sample(t, "nginx/postern.conf",
		"listen 443 ssl;", "listen "+address+" ssl;",
		"/etc/nginx/tls/postern.pem", filepath.Join(secrets, "public.pem"),
		"/etc/nginx/tls/postern.key", filepath.Join(secrets, "public.pem"),
		"server 127.0.0.1:8080;", "server "+ingress+";",
	))
	// What is around a site: nginx's own defaults but for where things lie.
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // its workers must reach the folder of the test
	}
	conf := write(t, dir, "nginx.conf", fmt.Sprintf(`%sdaemon off;
pid %s/nginx.pid;
error_log stderr;
events {}
http {
access_log off;
%sinclude %s;
}
`, user, dir, temporary.String(), site))
	if out, err := run(t, nginx, "-t", "-q", "-c", conf); err != nil || strings.Contains(out, "[warn]") {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	start(t, nil, nginx, "-c", conf).listens(address)
	return address
}

// startHAProxy runs HAProxy in front of two receivers that are the same one.
func startHAProxy(t *testing.T, secrets, ingress, ops string) string {
	t.Helper()
	return startHAProxyBefore(t, secrets, port(ops), ingress, ingress)
}

func startHAProxyBefore(t *testing.T, secrets, opsPort, one, two string) string {
	t.Helper()
	haproxy := tool(t, "haproxy", "haproxy")
	address := freeAddress(t)
	conf := write(t, t.TempDir(), "haproxy.cfg", sample(t, "haproxy/haproxy.cfg",
		"/run/secrets", secrets,
		"bind :8443", "bind "+address,
		"check port 8081", "check port "+opsPort,
		"postern-1:8080", one,
		"postern-2:8080", two,
	))
	if out, err := run(t, haproxy, "-c", "-f", conf); err != nil || strings.Contains(out, "WARNING") {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	p := start(t, nil, haproxy, "-f", conf)
	p.listens(address)
	return address
}

func serverTLS(t *testing.T, cert, key string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// What a proxy may add to a push or must change of it.
var itsOwn = []string{"Host", "X-Forwarded-For", "Content-Length", "Connection"}

// A push goes through each proxy as it is, and with it who called; what the
// receiver answers comes back as it is.
func TestProxiesChangeNothing(t *testing.T) {
	t.Parallel()
	secrets := secretsOf(t)
	for _, p := range proxies() {
		t.Run(p.name, func(t *testing.T) {
			behind := newRecorder(t, secrets, p.clientIP == "proxy-protocol")
			url := "https://" + p.start(t, secrets, behind.address, behind.ops) + "/hooks/corastone"
			c := newCaller(t, friend, insideCA(t, secrets))
			node := newNode(t, 1)

			t.Run("a push, its headers and its caller", func(t *testing.T) {
				push := notify(t, node)
				push.Header["x-odd_name"] = []string{"kept"}
				push.Header.Set("Accept-Encoding", "gzip")
				push.Header.Set("X-Forwarded-For", "203.0.113.10")
				c.want(t, http.StatusOK, url, push)
				got := one(t, behind)
				if !bytes.Equal(got.body, push.Body) {
					t.Error("another body arrived than was pushed")
				}
				if got.target != "/hooks/corastone" {
					t.Errorf("it arrived at %s", got.target)
				}
				sameHeaders(t, push.Header, got.header)
				if host := got.header.Get("Host"); !strings.Contains(url, "//"+host+"/") {
					t.Errorf("it arrived for host %s", host)
				}
				if said := calledBy(p, got); said != friend {
					t.Errorf("the receiver is told that %s called, want %s", said, friend)
				}
			})
			t.Run("a path as it is written", func(t *testing.T) {
				c.want(t, http.StatusOK, strings.TrimSuffix(url, "/hooks/corastone")+"//hooks/%63orastone?a=%2f", notify(t, node))
				if got := one(t, behind); got.target != "//hooks/%63orastone?a=%2f" {
					t.Errorf("it arrived as %s", got.target)
				}
			})
			t.Run("a body that is too large for others", func(t *testing.T) {
				push := notify(t, node)
				push.Body = bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
				c.want(t, http.StatusOK, url, push)
				if got := one(t, behind); !bytes.Equal(got.body, push.Body) {
					t.Errorf("%d bytes of %d arrived, or others", len(got.body), len(push.Body))
				}
			})
			t.Run("an answer", func(t *testing.T) {
				for _, status := range []int{http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable} {
					behind.answers(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Retry-After", "20")
						w.WriteHeader(status)
						io.WriteString(w, `{"error":"said"}`)
					})
					res, body, err := c.push(t, url, notify(t, node))
					if err != nil || res.StatusCode != status || string(body) != `{"error":"said"}` || res.Header.Get("Retry-After") != "20" {
						t.Errorf("answer %d came back as %v %s %v", status, res, body, err)
					}
					one(t, behind)
				}
			})
			t.Run("a receiver that dies over a push gets it once, and nobody says 4xx", func(t *testing.T) {
				behind.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
				if res, _, err := c.push(t, url, notify(t, node)); err == nil && res.StatusCode < 500 {
					t.Errorf("it was answered %s", res.Status)
				}
				one(t, behind)
			})
		})
	}
}

// one returns the only push that arrived.
func one(t *testing.T, r *recorder) arrival {
	t.Helper()
	seen := r.take()
	if len(seen) != 1 {
		t.Fatalf("%d pushes arrived, want 1", len(seen))
	}
	return seen[0]
}

// calledBy returns whom a receiver takes for the caller.
func calledBy(p proxy, a arrival) string {
	if p.clientIP == "proxy-protocol" {
		return a.peer.String()
	}
	said := strings.Split(strings.Join(a.header["X-Forwarded-For"], ","), ",")
	return strings.TrimSpace(said[len(said)-1])
}

func sameHeaders(t *testing.T, want, got http.Header) {
	t.Helper()
	for name, values := range want {
		name = http.CanonicalHeaderKey(name)
		if !slices.Contains(itsOwn, name) && !slices.Equal(got[name], values) {
			t.Errorf("header %s arrived as %q, want %q", name, got[name], values)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !slices.Contains(itsOwn, name) && name != "X-Odd_name" {
			t.Errorf("header %s was added", name)
		}
	}
}

// HAProxy sends pushes to receivers that could take them, and no push fails
// because one is gone.
func TestHAProxyPassesOverReceivers(t *testing.T) {
	t.Parallel()
	secrets := secretsOf(t)
	one, two := newRecorder(t, secrets, true), newRecorder(t, secrets, true)
	// Both are asked at the same port here: at ops of the first.
	url := "https://" + startHAProxyBefore(t, secrets, port(one.ops), one.address, two.address) + "/hooks/corastone"
	c, node := newCaller(t, friend, insideCA(t, secrets)), newNode(t, 3)
	c.client.Transport.(*http.Transport).DisableKeepAlives = true

	// It takes those that it has not asked yet for ready: ask for the truth.
	one.ready.Store(false)
	eventually(t, "nobody is asked who is not ready", func() bool {
		_, _, err := c.push(t, url, notify(t, node))
		return err != nil
	})
	one.take()
	two.take()
	one.ready.Store(true)
	eventually(t, "who is ready again is asked again", func() bool {
		c.push(t, url, notify(t, node))
		return one.arrived() > 0 && two.arrived() > 0
	})
	two.stop()
	for range 5 {
		c.want(t, http.StatusOK, url, notify(t, node))
	}
}

// A receiver behind each proxy knows its callers: who is on the allow-list is
// let in, who isn't is kept out, whatever a caller writes about itself and
// whoever goes past the proxy.
func TestReceiverBehindAProxyKnowsItsCallers(t *testing.T) {
	t.Parallel()
	secrets := secretsOf(t)
	for _, p := range proxies() {
		t.Run(p.name, func(t *testing.T) {
			r := startReceiver(t, fmt.Sprintf(`
ingress: {client_ip: %s, trusted_proxies: [127.0.0.1]}
ops:
  tls: {cert: %[2]s/ops.pem, key: %[2]s/ops.key}
`, p.clientIP, secrets))
			url := "https://" + p.start(t, secrets, r.ingress, r.ops) + "/hooks/corastone"
			roots := insideCA(t, secrets)
			node := newNode(t, 2)
			claiming := func(push corastonetest.Push) corastonetest.Push {
				push.Header.Set("X-Forwarded-For", friend)
				return push
			}

			push := notify(t, node)
			newCaller(t, friend, roots).want(t, http.StatusOK, url, push)
			newCaller(t, friend, roots).want(t, http.StatusOK, url, push) // SNS may repeat it
			newCaller(t, stranger, roots).want(t, http.StatusForbidden, url, notify(t, node))
			newCaller(t, stranger, roots).want(t, http.StatusForbidden, url, claiming(notify(t, node)))
			direct := "http://" + r.ingress + "/hooks/corastone"
			for _, from := range []string{stranger, "127.0.0.1"} {
				res, _, err := newCaller(t, from, roots).push(t, direct, notify(t, node))
				if err == nil && res.StatusCode < 400 {
					t.Errorf("%s went past the proxy and was answered %s", from, res.Status)
				}
			}
			metrics := newCaller(t, stranger, roots).get(t, "https://"+r.ops+"/metrics")
			for outcome, want := range map[string]string{"accepted": "1", "duplicate": "1"} {
				line := fmt.Sprintf("postern_deliveries_total{channel=\"push\",outcome=%q,source=\"corastone\"} %s\n", outcome, want)
				if !strings.Contains(metrics, line) {
					t.Errorf("not %s pushes were %s", want, outcome)
				}
			}
		})
	}
}
