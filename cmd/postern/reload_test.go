package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

// housed is a postern in this process, where the race detector sees it.
type housed struct {
	*receiver
	app     *app
	level   *slog.LevelVar
	hangups chan os.Signal
	log     *lines
	stop    func() // ends it; may be called again
}

// house runs a receiver's configuration in this process.
func house(t *testing.T, r *receiver) *housed {
	t.Helper()
	return houseOf(t, r, platforms())
}

func houseOf(t *testing.T, r *receiver, all []handlers.Platform) *housed {
	t.Helper()
	h := &housed{receiver: r, level: &slog.LevelVar{}, hangups: make(chan os.Signal, 1), log: &lines{}}
	p := &process{stdout: h.log, stderr: h.log, platforms: all}
	paths := []string{r.file}
	if _, err := os.Stat(filepath.Join(r.dir, "more.yaml")); err == nil {
		paths = append(paths, filepath.Join(r.dir, "more.yaml"))
	}
	load := func() (*Config, error) { return p.load(paths) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if h.app, err = openApp(cfg, p.platforms, newLogger(h.log, h.level, false, false), rereading{load, h.level, h.hangups}); err != nil {
		t.Fatal(err)
	}
	r.push = "http://" + h.app.ingressAddr.String() + "/hooks/corastone"
	r.ops = "http://" + h.app.opsAddr.String()
	return h
}

// run lets it receive until the test ends.
func (h *housed) run() *housed {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.app.run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				h.t.Error("it ended with", err)
			}
		case <-time.After(patience):
			h.t.Error("it did not end in time")
		}
	})
	h.t.Cleanup(h.stop)
	return h
}

// reloaded reloads and returns what became of it.
func (h *housed) reloaded() ops.Reloaded {
	h.t.Helper()
	done, err := h.app.reloader.reload(h.t.Context(), "a test")
	if err != nil {
		h.t.Fatalf("not reloaded: %v\n%s", err, h.log)
	}
	return done
}

// push1 pushes a fact of its own and returns the status.
func (r *receiver) push1(from, process string) int {
	r.t.Helper()
	e := nodeOf(r.t, 7).Notification(investment(process))
	e.MessageID = "message-of-" + process
	a, err := r.pusher(from).Push(r.t.Context(), signed(r.t, e))
	if a.Status == 0 {
		r.t.Fatal("push:", err)
	}
	return a.Status
}

func TestReloadedAllowListHoldsForTheNextPushOfAConnection(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	caller8 := "127.0.0.8"
	// Somebody else is allowed all the time: callers that nobody knows are
	// hung up on.
	second := "  second: {platform: corastone, push: {allow: [127.0.0.0/8], topics: [\"" + corastonetest.Topic + "\"], signature: pinned, certificates: [sns.pem]}}\n"
	h.write("postern.yaml", readFile(t, h.file)+second)
	want := ops.Reloaded{Applied: []ops.Change{{Setting: "sources.second", How: "added"}}}
	if diff := cmp.Diff(want, h.reloaded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	node := nodeOf(t, 6)
	pusher := h.pusher(caller)
	var reused bool
	push := func() int {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		a, err := pusher.Push(ctx, signed(t, node.Notification(investment("kept-alive"))))
		if a.Status == 0 {
			t.Fatal(err)
		}
		return a.Status
	}
	if status := push(); status != http.StatusOK {
		t.Fatalf("an allowed caller was answered %d", status)
	}
	if status := h.push1(caller8, "early"); status != http.StatusForbidden {
		t.Errorf("a caller that is not allowed yet was answered %d", status)
	}
	h.edit("allow: ["+caller+"]", "allow: ["+caller8+"]")
	want = ops.Reloaded{Applied: []ops.Change{{Setting: "sources.corastone", How: "changed"}}}
	if diff := cmp.Diff(want, h.reloaded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status := push(); status != http.StatusForbidden || !reused {
		t.Errorf("a caller that is not allowed any more was answered %d, over the same connection: %t", status, reused)
	}
	if status := h.push1(caller8, "late"); status != http.StatusOK {
		t.Errorf("a caller that is allowed now was answered %d", status)
	}
}

func TestRemovedSourceIsGoneAndWhatItPushedIsTold(t *testing.T) {
	server := bustest.NewExternal(t)
	r := newReceiver(t, "")
	r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "")
	externalConfig(r, server.URL())
	h := house(t, r).run()
	if status := h.push1(caller, "first"); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	h.relayed("published", 1)
	server.Stop()
	if status := h.push1(caller, "waiting"); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	h.edit("\n  corastone:\n", "\n  another:\n")
	want := ops.Reloaded{Applied: []ops.Change{{Setting: "sources.another", How: "added"}, {Setting: "sources.corastone", How: "removed"}}}
	if diff := cmp.Diff(want, h.reloaded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status := h.push1(caller, "late"); status != http.StatusNotFound {
		t.Errorf("a push to a source that is gone was answered %d, want 404", status)
	}
	server.Start()
	events := subscribe(t, connect(t, server.URL()))
	for _, want := range []string{"first", "waiting"} {
		if m := next(t, events); m.Subject() != "postern.events.corastone.process.succeeded."+want {
			t.Errorf("told was %s, want %s", m.Subject(), want)
		}
	}
}

func TestBadConfigurationKeepsTheOldOneAndSaysWhy(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	good := readFile(t, h.file)
	successful := func() string { return h.metric("postern_config_last_reload_successful") }
	at := h.metric("postern_config_last_reload_success_timestamp_seconds")
	if got, err := strconv.ParseFloat(at, 64); successful() != "1" || err != nil || time.Since(time.Unix(int64(got), 0)) > time.Minute {
		t.Errorf("at the start it is %q since %q", successful(), at)
	}
	token := []string{"--ops", h.ops, "--token-file", filepath.Join(h.dir, "data", "ops.token")}
	h.write("postern.yaml", strings.Replace(strings.Replace(good, "format: json", "format: json, level: debug", 1), "signature: pinned", "signatur: pinned", 1)+"log2: {}\n")
	code, stdout, stderr := command(t, nil, append([]string{"reload"}, token...)...)
	if code != exitConfig || stdout != "" || !strings.Contains(stderr, h.file+":14:7: sources.corastone.push.signatur is not a key; did you mean \"signature\"?\n") ||
		!strings.Contains(stderr, h.file+":16:1: log2 is not a key") {
		t.Errorf("exit code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
	}
	for _, want := range []string{"the old one stays", h.file + ":14:7", "is not a key"} {
		if !strings.Contains(h.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, h.log)
		}
	}
	if successful() != "0" || h.metric("postern_config_last_reload_success_timestamp_seconds") != at {
		t.Error("the metrics say that it was reloaded")
	}
	if h.level.Level() != slog.LevelInfo {
		t.Error("a part of the bad configuration was applied")
	}
	if status := h.push1(caller, "still"); status != http.StatusOK {
		t.Errorf("the old source answered %d", status)
	}

	h.write("postern.yaml", strings.Replace(good, "max_bytes: 256MiB", "max_bytes: 300MiB", 1)+"insecure: true\n")
	h.edit("log: {format: json}", "log: {format: json, level: debug}")
	code, stdout, stderr = command(t, nil, append([]string{"reload"}, token...)...)
	if code != exitOK || stdout != "insecure: changed\nlog.level: changed\njournal.max_bytes: needs a restart\n" || !strings.Contains(stderr, ":16:11: warning: insecure is true") {
		t.Errorf("exit code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
	}
	if successful() != "1" || h.level.Level() != slog.LevelDebug {
		t.Errorf("successful is %q, the level %v", successful(), h.level)
	}
	if !strings.Contains(h.log.String(), `"msg":"a setting needs a restart","setting":"journal.max_bytes"`) {
		t.Error("the log doesn't say what needs a restart")
	}
	if code, stdout, stderr := command(t, nil, append([]string{"reload"}, token...)...); code != exitOK || stdout != "journal.max_bytes: needs a restart\n" {
		t.Errorf("once more: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestFilesThatChangeAreReadAgain(t *testing.T) {
	r := newReceiver(t, "")
	// As a volume of secrets is mounted: a file is a link through a link, which
	// is exchanged.
	mount := func(name, secret string) {
		r.t.Helper()
		version := filepath.Join(r.dir, "secrets", "..", name)
		if err := errors.Join(os.MkdirAll(version, 0o700), os.WriteFile(filepath.Join(version, "push"), []byte(secret+"\n"), 0o600),
			os.MkdirAll(filepath.Join(r.dir, "secrets"), 0o700), os.Symlink(version, filepath.Join(r.dir, "secrets", "..tmp")),
			os.Rename(filepath.Join(r.dir, "secrets", "..tmp"), filepath.Join(r.dir, "secrets", "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	mount("v1", "the first secret of all")
	if err := os.Symlink(filepath.Join("..data", "push"), filepath.Join(r.dir, "secrets", "push")); err != nil {
		t.Fatal(err)
	}
	r.write("postern.yaml", readFile(t, r.file)+`  relayed:
    platform: corastone
    push: {allow: [`+caller+`], topics: ["`+corastonetest.Topic+`"], signature: header, header: {name: X-Push-Secret, secrets: [{file: secrets/push}]}}
`)
	h := house(t, r)
	h.app.reloader.every, h.app.reloader.settle = 20*time.Millisecond, 10*time.Millisecond
	h.run()
	pinned := h.push
	relayed := strings.Replace(pinned, "corastone", "relayed", 1)
	withSecret := func(secret string) int {
		h.push = relayed
		defer func() { h.push = pinned }()
		p := nodeOf(t, 8).Notification(investment("with-secret")).Push()
		p.Header.Set("X-Push-Secret", secret)
		a, _ := h.pusher(caller).Push(t.Context(), p)
		return a.Status
	}
	if got := withSecret("the first secret of all"); got != http.StatusOK {
		t.Fatalf("with the secret: %d", got)
	}
	mount("v2", "the second secret of all")
	eventually(t, "the new secret is asked for", func() bool { return withSecret("the second secret of all") == http.StatusOK })
	if got := withSecret("the first secret of all"); got != http.StatusForbidden {
		t.Errorf("with the old secret: %d", got)
	}

	// Another certificate signs from now on.
	signer, err := corastonetest.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	e, err := signer.Sign(nodeOf(t, 9).Notification(investment("new-signer")))
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := h.pushed(e.Push()); status != http.StatusForbidden {
		t.Errorf("signed by nobody that is pinned: %d", status)
	}
	h.write("sns.pem", string(signer.Certificate()))
	eventually(t, "the new certificate is pinned", func() bool { status, _ := h.pushed(e.Push()); return status == http.StatusOK })
	if status := h.push1(caller, "old-signer"); status != http.StatusForbidden {
		t.Errorf("signed by who was pinned: %d", status)
	}

	// A file that comes back after a while ends the complaint by itself.
	if err := os.Rename(filepath.Join(h.dir, "sns.pem"), filepath.Join(h.dir, "away.pem")); err != nil {
		t.Fatal(err)
	}
	successful := func(want string) func() bool {
		return func() bool { return h.metric("postern_config_last_reload_successful") == want }
	}
	eventually(t, "it complains", successful("0"))
	if status, _ := h.pushed(e.Push()); status != http.StatusOK {
		t.Errorf("without the file: %d", status)
	}
	if err := os.Rename(filepath.Join(h.dir, "away.pem"), filepath.Join(h.dir, "sns.pem")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is well", successful("1"))
	if !strings.Contains(h.log.String(), `"actor":"files"`) || strings.Contains(h.log.String(), "secret of all") {
		t.Errorf("the log should name files, and no secret:\n%s", h.log)
	}
	reloads := func() int { return strings.Count(h.log.String(), `"msg":"an operator acted"`) }
	eventually(t, "every reload is told", func() bool { return reloads() >= 4 })
	if got := reloads(); got > 12 {
		t.Errorf("it was reloaded %d times for 4 changes", got)
	}
}

func TestTokensAndTheListenersCertificatesAreReloaded(t *testing.T) {
	r := newReceiver(t, "")
	cert, key := certificate(t)
	r.write("a.crt", cert)
	r.write("a.key", key)
	cert, key = certificate(t)
	r.write("b.crt", cert)
	r.write("b.key", key)
	r.write("eve.token", "token of eve 123456")
	r.edit(`ingress: {listen: "127.0.0.1:0"}`, `ingress: {listen: "127.0.0.1:0", tls: {cert: a.crt, key: a.key}}`)
	r.edit(`ops: {listen: "127.0.0.1:0"}`, `ops: {listen: "127.0.0.1:0", tokens: [{name: eve, role: viewer, token: {file: eve.token}}]}`)
	h := house(t, r).run()
	status := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.ops+"/api/v1/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if got := status("token of eve 123456"); got != http.StatusOK {
		t.Fatalf("eve is answered %d", got)
	}
	h.write("eve.token", "another token of eve")
	h.edit("a.crt, key: a.key", "b.crt, key: b.key")
	h.edit("ops: {", "ops: {tls: {cert: a.crt, key: a.key}, ")
	want := ops.Reloaded{
		Applied: []ops.Change{{Setting: "ingress.tls", How: "changed"}, {Setting: "ops.tokens", How: "changed"}},
		Restart: []string{"ops.tls"},
	}
	if diff := cmp.Diff(want, h.reloaded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if old, now := status("token of eve 123456"), status("another token of eve"); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("the old token is answered %d, the new one %d", old, now)
	}
	shown, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", h.app.ingressAddr.String()) //nolint:gosec // which one it is is compared
	if err != nil {
		t.Fatal(err)
	}
	defer shown.Close()
	if block, _ := pem.Decode([]byte(cert)); !bytes.Equal(block.Bytes, shown.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw) {
		t.Error("the ingress shows the old certificate")
	}
}
