package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

func TestEveryPushIsAcceptedWhileItReloads(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	texts := [2]string{readFile(t, h.file)}
	texts[1] = strings.Replace(texts[0], "allow: ["+caller+"]", "allow: ["+caller+", 127.0.0.9]", 1) +
		"  second: {platform: corastone, push: {allow: [127.0.0.9], topics: [\"" + corastonetest.Topic + "\"], signature: pinned, certificates: [sns.pem]}}\n"
	var stop atomic.Bool
	var pushes atomic.Int64
	var wg sync.WaitGroup
	for c := range 4 {
		node, pusher := nodeOf(t, uint64(20+c)), h.pusher(caller)
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				e, err := testSigner(t).Sign(node.Notification(investment(fmt.Sprintf("busy-%d-%d", c, i))))
				if err != nil {
					t.Error(err)
					return
				}
				if a, err := pusher.Push(t.Context(), e.Push()); a.Status != http.StatusOK {
					t.Errorf("answered %d (%v)", a.Status, err)
					return
				}
				pushes.Add(1)
			}
		})
	}
	for i := range 50 {
		h.write("postern.yaml", texts[(i+1)%2])
		if done := h.reloaded(); len(done.Applied) != 2 {
			t.Errorf("reload %d applied %v", i, done.Applied)
		}
	}
	stop.Store(true)
	wg.Wait()
	if pushes.Load() < 50 {
		t.Errorf("only %d pushes", pushes.Load())
	}
	t.Logf("%d pushes during 50 reloads", pushes.Load())
}

func TestWhoReloadedIsTold(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	<-h.app.opened
	if err := h.app.bus.Load().Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.hangups <- os.Interrupt // whichever it is
	told := make(chan string, 10)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		defer close(told)
		_ = h.app.bus.Load().Tail(ctx, bus.TailOptions{Stream: schemas.StreamOps, Follow: true}, func(m bus.TailMessage) error {
			told <- m.Subject + " " + string(m.Data)
			return nil
		})
	}()
	if m := <-told; !strings.HasPrefix(m, "postern.ops.postern.reloaded ") || !strings.Contains(m, `"actor":"SIGHUP"`) {
		t.Errorf("told is %s", m)
	}
	if code, _, stderr := command(t, nil, "reload", "--ops", h.ops, "--token-file", filepath.Join(h.dir, "data", "ops.token")); code != exitOK {
		t.Fatal(stderr)
	}
	if m := <-told; !strings.Contains(m, `"actor":"ops.token"`) {
		t.Errorf("told is %s", m)
	}
}

func TestNothingIsReloadedWhileItEnds(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	h.app.ingress.Drain()
	code, _, stderr := command(t, nil, "reload", "--ops", h.ops, "--token-file", filepath.Join(h.dir, "data", "ops.token"))
	if code != exitUnavailable || !strings.Contains(stderr, "is ending") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if got := h.metric("postern_config_last_reload_successful"); got != "1" {
		t.Errorf("successful is %q", got)
	}
	h.hangups <- os.Interrupt
	h.stop() // also while a signal waits
}

func TestReloadNeedsAnOperator(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	h.write("wrong", "no token of theirs")
	if code, _, stderr := command(t, nil, "reload", "--ops", h.ops, "--token-file", filepath.Join(h.dir, "wrong")); code != exitNotAllowed {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, nil, "reload", "--ops", "http://127.0.0.1:1"); code != exitUnavailable {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestSIGHUPReloadsAndEndsNothing(t *testing.T) {
	r := newReceiver(t, "")
	r.start()
	r.edit("allow: ["+caller+"]", "allow: [127.0.0.8]")
	for range 3 { // asking often does no harm
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new caller is allowed", func() bool { return r.push1("127.0.0.8", "hung-up") == http.StatusOK })
	if status := r.push1(caller, "old-caller"); status != http.StatusForbidden {
		t.Errorf("the old caller was answered %d", status)
	}
	r.edit("topics:", "topic:")
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bad configuration is told", func() bool {
		return strings.Contains(r.stderr.String(), r.file+`:13:7","problem":"sources.corastone.push.topic is not a key`)
	})
	if status := r.push1("127.0.0.8", "still-there"); status != http.StatusOK {
		t.Errorf("the caller was answered %d", status)
	}
	r.edit("topic:", "topics:")
	r.edit("log: {format: json}", "log: {format: json, level: error}")
	out, err := r.command("reload", "--ops", r.ops).CombinedOutput()
	if err != nil || string(out) != "log.level: changed\n" {
		t.Errorf("%v: %s", err, out)
	}
	if code := r.terminate(); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr)
	}
	if strings.Contains(r.stderr.String(), "ending in order") {
		t.Error("the log has what is below its level")
	}
}

// The loader opens whatever says that it is fine; the gate looks again.
func TestConfigurationThatAPartRefusesIsNotAppliedInParts(t *testing.T) {
	r := newReceiver(t, "")
	r.write("old.token", "the old token of eve")
	r.write("new.token", "the new token of eve")
	const common = "data_dir: data\ningress: {listen: \"127.0.0.1:0\"}\njournal: {reserve: 1MiB}\n"
	r.write("postern.yaml", common+`ops: {listen: "127.0.0.1:0", tokens: [{name: eve, role: operator, token: {file: old.token}}]}
sources: {a: {platform: fake, login: somebody}}
`)
	h := houseOf(t, r, fakes()).run()
	h.write("postern.yaml", common+`ops: {listen: "127.0.0.1:0", tokens: [{name: eve, role: operator, token: {file: new.token}}]}
log: {level: debug}
sources: {a: {platform: fake, login: somebody, push: {allow: [127.0.0.7]}}}
`)
	_, err := h.app.reloader.reload(t.Context(), "a test")
	var bad *ops.ReloadError
	if !errors.As(err, &bad) || len(bad.Problems) != 1 || !strings.Contains(bad.Problems[0].Message, "nothing authenticates its pushes") || bad.Problems[0].Line != 6 {
		t.Fatalf("%v", err)
	}
	reload := func(token string) int {
		code, _, _ := command(t, nil, "reload", "--ops", h.ops, "--token-file", filepath.Join(h.dir, token))
		return code
	}
	if old, next := reload("old.token"), reload("new.token"); old != exitConfig || next != exitNotAllowed {
		t.Errorf("with the old token it ends with %d, with the new one with %d", old, next)
	}
	if h.level.Level() != slog.LevelInfo || h.app.now.Load() != h.app.cfg {
		t.Error("a part of it was applied")
	}
}
