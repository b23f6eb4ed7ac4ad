package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// connectAll returns a user that may read everything, once it is connected.
func connectAll(t *testing.T, r *receiver) jetstream.JetStream {
	t.Helper()
	return connect(t, strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
}

// newOpenReceiver returns a receiver with such a user.
func newOpenReceiver(t *testing.T) *receiver {
	t.Helper()
	t.Setenv("OPS_PASSWORD", "correct horse battery")
	return newReceiver(t, "nats: {embedded: {users: [{name: ops, password: {env: OPS_PASSWORD}, allow: all}]}}")
}

// finish runs a command of r to its end.
func (r *receiver) finish(args ...string) (stdout, stderr string, code int) {
	r.t.Helper()
	var out, err lines
	cmd := r.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		r.t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// fetchAll returns what a stream holds now.
func fetchAll(t *testing.T, js jetstream.JetStream, stream schemas.Stream) []jetstream.Msg {
	t.Helper()
	s, err := js.Stream(t.Context(), string(stream))
	if err != nil {
		t.Fatal(err)
	}
	n := int(s.CachedInfo().State.Msgs)
	c, err := js.CreateConsumer(t.Context(), string(stream), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		t.Fatal(err)
	}
	var all []jetstream.Msg
	for len(all) < n {
		all = append(all, next(t, c))
	}
	return all
}

func TestRotatedKeysOpenWhatTheReceiverSealedBefore(t *testing.T) {
	r := newOpenReceiver(t)
	r.startBroker()
	node := nodeOf(t, 21)
	before := node.Notification(investment("before"))
	_, id := r.pushed(signed(t, before))
	r.relayed("published", 1)
	if _, stderr, code := r.finish("keys", "rotate"); code != exitFailed || !strings.Contains(stderr, "stop the receiver") {
		t.Errorf("beside a running receiver: exit code %d\n%s", code, stderr)
	}
	r.terminate()

	key := filepath.Join(r.dir, "data", "seal.key")
	old := readFile(t, key)
	stdout, stderr, code := r.finish("keys", "rotate")
	if code != exitOK || strings.Contains(stderr, "could not be told") {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	fingerprint := strings.TrimSpace(stdout)
	if strings.Contains(stdout+stderr, strings.TrimSpace(old)) || strings.Contains(stdout+stderr, strings.TrimSpace(readFile(t, key)[:44])) {
		t.Error("it shows a key")
	}

	r.startBroker()
	if _, again := r.pushed(signed(t, before)); again != id {
		t.Errorf("a repeat of what came before has the id %q, want %q", again, id)
	}
	r.pushed(signed(t, node.Notification(investment("after"))))
	r.relayed("published", 1)
	js := connectAll(t, r)
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: filepath.Join(r.dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	var opened []string
	for _, m := range fetchAll(t, js, schemas.StreamRaw) {
		d, err := keys.OpenDelivery(m.Data())
		if err != nil {
			t.Fatal("what is on the bus does not open:", err)
		}
		for _, process := range []string{"before", "after"} {
			if strings.Contains(string(d.Payload), process) {
				opened = append(opened, process)
			}
		}
	}
	if got := strings.Join(opened, " "); got != "before after" {
		t.Errorf("of the raw deliveries there are %q", got)
	}
	told := fetchAll(t, js, schemas.StreamOps)
	if len(told) != 1 || told[0].Subject() != "postern.ops.postern.keys_rotated" || !strings.Contains(string(told[0].Data()), fingerprint) {
		t.Errorf("it is told %d times on %s", len(told), schemas.StreamOps)
	}

	list, stderr, code := r.finish("keys", "list")
	if code != exitOK || !strings.HasPrefix(list, "seal       "+fingerprint+"  seals    ") || strings.Count(list, "opens") != 1 || strings.Count(list, "names") != 1 {
		t.Errorf("keys list: exit code %d\n%s%s", code, list, stderr)
	}
	r.terminate()

	// The copy of the old key alone doesn't do any more.
	r.write("data/seal.key", old)
	if out, err := r.command("serve").CombinedOutput(); err == nil || !strings.Contains(string(out), fingerprint) {
		t.Errorf("with the old key alone it says (%v): %s", err, out)
	}
	if list, _, code := r.finish("keys", "list"); code != exitFailed || !strings.Contains(list, fingerprint+"  MISSING") {
		t.Errorf("keys list: exit code %d\n%s", code, list)
	}
}

func TestRotateWithoutDataOrWithConfiguredKeysChangesNothing(t *testing.T) {
	r := newReceiver(t, "")
	if _, stderr, code := r.finish("keys", "rotate"); code != exitNotFound || !strings.Contains(stderr, "next: ") {
		t.Errorf("without data: exit code %d\n%s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "data", "seal.key")); err == nil {
		t.Error("it made a key")
	}
	configured := newReceiver(t, "seal: {keys: [{file: own.key}]}")
	configured.write("own.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
	stdout, stderr, code := configured.finish("keys", "rotate")
	if code != exitFailed || !strings.Contains(stdout, "openssl rand -base64 32") {
		t.Errorf("with configured keys: exit code %d\n%s%s", code, stdout, stderr)
	}
}
