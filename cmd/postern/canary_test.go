package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// asDoomed makes the postern of [asPostern] panic at, or die of, deliveries
// that ask for it, as it would of a fault of its own.
const asDoomed = "TEST_AS_DOOMED"

const (
	panicsAt = "please-panic"
	diesOf   = "please-die"
)

func doomed() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all := platforms()
	for i := range all {
		normalize := all[i].Normalize
		all[i].Normalize = func(d handlers.Delivery) (handlers.Output, error) {
			at := bytes.Index(d.Payload, []byte(panicsAt))
			switch {
			case at >= 0: // with what follows soon, as long texts are cut
				panic(fmt.Sprintf("no idea what this is: %s", d.Payload[at:]))
			case bytes.Contains(d.Payload, []byte(diesOf)):
				os.Exit(9)
			}
			return normalize(d)
		}
	}
	os.Exit(execute(ctx, os.Args[1:], &process{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), platforms: all,
	}))
}

// aviary is a receiver into which canaries are let.
type aviary struct {
	*receiver
	node *corastonetest.Node

	left  []canaries.Canary
	where map[string]string // it was planted, by text
	twin  map[string]bool   // readers of twins must hear it
	open  map[string]bool   // what readers of events may hear: the platform's own words
	ear   *canaries.Ear

	answers bytes.Buffer // everything that was answered
	logs    bytes.Buffer // of those that ended
	clients map[string]*http.Client
	made    int // facts
}

// howMany canaries are enough for every way.
const howMany = 300

func newAviary(t *testing.T) *aviary {
	t.Helper()
	t.Setenv(asDoomed, "1")
	cert, key := certificate(t)
	a := &aviary{
		receiver: newReceiver(t, aviaryConfig), node: nodeOf(t, 77),
		left:  canaries.Some(20, howMany),
		where: map[string]string{}, twin: map[string]bool{}, open: map[string]bool{},
		clients: map[string]*http.Client{},
	}
	a.ear = canaries.NewEar(a.left)
	a.write("gate.pem", cert)
	a.write("gate.key", key)
	a.write("nats.password", "correct horse battery\n")
	a.write("ursula.token", a.plant("the token of an operator")+strings.Repeat("-", 20)+"\n")
	a.write("relay.secret", a.ascii("the secret of a relay")+"\n")
	a.begin()
	return a
}

const aviaryConfig = `
insecure: true
log: {level: debug}
ingress: {tls: {cert: gate.pem, key: gate.key}}
ops: {tokens: [{name: ursula, role: unseal, token: {file: ursula.token}}]}
nats: {embedded: {users: [{name: ops, password: {file: nats.password}, allow: all}]}}
sources:
  required:
    platform: corastone
    push: {allow: [` + caller + `], topics: ["` + corastonetest.Topic + `"], signature: required, regions: [eu-central-1]}
  relay:
    platform: corastone
    push: {allow: [` + caller + `], topics: ["` + corastonetest.Topic + `"], signature: header, header: {name: X-Relay, secrets: [{file: relay.secret}]}}
  off:
    platform: corastone
    push: {allow: [` + caller + `], topics: ["` + corastonetest.Topic + `"], signature: off}
`

// begin starts the receiver, again.
func (a *aviary) begin() {
	a.t.Helper()
	if a.cmd != nil {
		a.kill()
		a.logs.WriteString(a.stderr.String())
	}
	a.startBroker()
	for _, c := range a.clients {
		c.CloseIdleConnections()
	}
}

// plant takes a canary that must be nowhere in the clear.
func (a *aviary) plant(where string) string {
	a.t.Helper()
	if len(a.left) == 0 {
		a.t.Fatalf("no canary is left for %s, of %d", where, len(a.where))
	}
	text := a.left[0].Text
	a.left = a.left[1:]
	a.where[text] = where
	return text
}

// ascii is plant for where no other characters can be.
func (a *aviary) ascii(where string) string {
	a.t.Helper()
	i := slices.IndexFunc(a.left, func(c canaries.Canary) bool { return c.Kind == "IBAN" })
	if i < 0 {
		a.t.Fatalf("no canary is left for %s, of %d", where, len(a.where))
	}
	a.left[0], a.left[i] = a.left[i], a.left[0]
	return a.plant(where)
}

// fill plants a canary for every ¤ of a text, and for every § one of which each
// character is escaped as in JSON.
func (a *aviary) fill(where, text string) string {
	a.t.Helper()
	var b strings.Builder
	for _, c := range text {
		switch c {
		case '¤':
			b.WriteString(a.plant(where))
		case '§':
			for _, r := range a.plant(where) {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// told is fill for what readers of twins must hear.
func (a *aviary) told(where, text string) string {
	a.t.Helper()
	before := len(a.where)
	known := map[string]bool{}
	for c := range a.where {
		known[c] = true
	}
	text = a.fill(where, text)
	for c := range a.where {
		a.twin[c] = a.twin[c] || !known[c]
	}
	if len(a.where) == before {
		a.t.Fatalf("nothing was planted: %s", where)
	}
	return text
}

// public is fill for what events may say.
func (a *aviary) public(where, text string) string {
	a.t.Helper()
	twin := a.twin
	a.twin = map[string]bool{}
	text = a.told(where, text)
	for c, is := range a.twin {
		a.open[c] = a.open[c] || is
	}
	a.twin = twin
	return text
}

// client returns who calls from an address and believes any certificate.
func (a *aviary) client(from string) *http.Client {
	c := a.clients[from]
	if c == nil {
		dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		a.t.Cleanup(transport.CloseIdleConnections)
		c = &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		a.clients[from] = c
	}
	return c
}

// gate returns the host and port of the ingress.
func (a *aviary) gate() string {
	u, err := url.Parse(a.push)
	if err != nil {
		a.t.Fatal(err)
	}
	return u.Host
}

// send posts to the ingress and keeps what is answered.
func (a *aviary) send(from, method, path string, p corastonetest.Push) int {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, "https://"+a.gate()+path, bytes.NewReader(p.Body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header = p.Header.Clone()
	res, err := a.client(from).Do(req)
	if err != nil {
		// Who is told that it is too large may be cut off while it sends.
		if len(p.Body) > 1<<20 {
			return http.StatusRequestEntityTooLarge
		}
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Fprintln(&a.answers, res.Status, res.Header)
	if _, err := io.Copy(&a.answers, res.Body); err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode
}

// wants sends to a source and fails unless the answer is the one that is
// wanted.
func (a *aviary) wants(status int, source string, p corastonetest.Push) {
	a.t.Helper()
	if got := a.send(caller, http.MethodPost, "/hooks/"+source, p); got != status {
		a.t.Errorf("answered %d, want %d", got, status)
	}
}

// notify pushes a signed message, which is accepted.
func (a *aviary) notify(message string) {
	a.t.Helper()
	a.made++
	a.wants(http.StatusOK, "corastone", signed(a.t, a.node.Notification(corastonetest.Text(message))))
}

// tool runs a command and keeps what it says, apart from stdout if that is the
// data that was asked for.
func (a *aviary) tool(code int, data bool, args ...string) string {
	a.t.Helper()
	args = append(args, "-c", a.file, "-c", filepath.Join(a.dir, "more.yaml"))
	var stdout, stderr bytes.Buffer
	if got := run(a.t.Context(), args, nil, &stdout, &stderr, []string{"NO_COLOR=1"}); got != code {
		a.t.Errorf("%s: exit code %d, want %d\n%s%s", args, got, code, &stdout, &stderr)
	}
	if data {
		a.answers.Write(stderr.Bytes())
	} else {
		a.answers.Write(stdout.Bytes())
		a.answers.Write(stderr.Bytes())
	}
	return stdout.String()
}

// asked runs a command that asks the receiver.
func (a *aviary) asked(code int, data bool, args ...string) string {
	a.t.Helper()
	return a.tool(code, data, append(args, "--ops", a.ops, "--token-file", filepath.Join(a.dir, "ursula.token"))...)
}

// silent fails for every canary that is heard in data and not among those that
// may be there.
func (a *aviary) silent(place string, data []byte, but map[string]bool) {
	a.t.Helper()
	heard := map[string]bool{}
	for _, h := range a.ear.Hear(data) {
		if but[h.Text] || heard[h.Text] {
			continue
		}
		heard[h.Text] = true
		at := data[max(0, h.At-60):min(len(data), h.At+100)]
		a.t.Errorf("%s: heard the %s that was planted in %s, as %s: …%q…", place, h.Kind, a.where[h.Text], h.As, at)
	}
}

// silentOnDisk listens to everything below a folder, byte by byte, and to the
// names of files.
func (a *aviary) silentOnDisk(when, dir string) {
	a.t.Helper()
	files, size := 0, 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		files, size = files+1, size+len(data)
		a.silent(when+", "+path, append([]byte(path+"\n"), data...), nil)
		return nil
	})
	if err != nil || files < 20 {
		a.t.Errorf("%s: %d files were searched: %v", when, files, err)
	}
	a.t.Logf("%s: %d files, %d KiB", when, files, size>>10)
}

// ignoreGone ignores that a file went while it was looked for.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// silentOnBus listens to everything on the bus. It returns what the readers of
// twins hear.
func (a *aviary) silentOnBus() map[string]bool {
	a.t.Helper()
	js := connect(a.t, strings.Replace(a.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
	onTwins := map[string]bool{}
	for _, stream := range schemas.Streams() {
		held := a.heldOn(js, string(stream))
		for _, m := range held {
			open := map[string]bool{}
			if stream == schemas.StreamEvents || stream == schemas.StreamRestricted || stream == schemas.StreamOps {
				open = a.open
			}
			a.silent(m.Subject(), []byte(m.Subject()), open)
			a.silent("headers of "+m.Subject(), fmt.Append(nil, m.Headers()), open)
			if stream == schemas.StreamRestricted {
				for _, h := range a.ear.Hear(m.Data()) {
					onTwins[h.Text] = true
				}
				continue
			}
			a.silent("body of "+m.Subject(), m.Data(), open)
		}
		a.t.Logf("%s: %d messages", stream, len(held))
	}
	return onTwins
}

// heldOn is [receiver.held] for a stream that may be empty.
func (a *aviary) heldOn(js jetstream.JetStream, stream string) []jetstream.Msg {
	a.t.Helper()
	if stream == string(schemas.StreamReplay) {
		return nil // nothing was replayed, and it may not be there
	}
	return a.held(js, stream)
}
