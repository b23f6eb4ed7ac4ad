package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed75441868/postern/bus/bustest"
)

// keyFile writes a key.
func (r *receiver) keyFile(name string, fill byte) {
	r.write(name, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)))
}

// verbose returns what /readyz?verbose says, and its status.
func (r *receiver) verbose() (string, int) {
	r.t.Helper()
	res, err := http.Get(r.ops + "/readyz?verbose")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text), res.StatusCode
}

// A receiver with other keys than the first on the same NATS accepts pushes and
// says which key is another, but tells nothing before that is put right.
func TestReceiversOnOneNATSHaveTheSameKeys(t *testing.T) {
	server := bustest.NewExternal(t)
	start := func(change func(*receiver)) *receiver {
		t.Helper()
		r := newReceiver(t, "")
		r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "")
		externalConfig(r, server.URL())
		change(r)
		r.start()
		return r
	}
	node, pushes := nodeOf(t, 41), 0
	push := func(r *receiver) {
		t.Helper()
		pushes++
		if status, _ := r.pushed(signed(t, node.Notification(investment(fmt.Sprintf("k%d", pushes))))); status != http.StatusOK {
			t.Fatalf("a push was answered %d", status)
		}
	}
	js := connect(t, server.URL())
	first := start(func(*receiver) {})
	push(first)
	first.relayed("published", 1)

	// The seal key is rotated on one of them: what the old one sealed it opens.
	rotated := start(func(r *receiver) {
		r.keyFile("new.key", 8)
		r.write("more.yaml", strings.Replace(readFile(t, r.dir+"/more.yaml"), "{file: seal.key}", "{file: new.key}, {file: seal.key}", 1))
	})
	push(rotated)
	rotated.relayed("published", 1)

	for name, c := range map[string]struct {
		wrong  func(*receiver)
		says   string
		repair func(*receiver)
	}{
		"seal key": {
			wrong: func(*receiver) {}, // it doesn't know the new one
			says:  "add theirs to seal.keys",
			repair: func(r *receiver) {
				r.keyFile("new.key", 8)
				r.write("more.yaml", strings.Replace(readFile(t, r.dir+"/more.yaml"), "{file: seal.key}", "{file: seal.key}, {file: new.key}", 1))
			},
		},
		"pseudonym key": {
			wrong: func(r *receiver) {
				r.keyFile("new.key", 8)
				r.write("more.yaml", strings.Replace(readFile(t, r.dir+"/more.yaml"), "{file: seal.key}", "{file: new.key}", 1))
				r.keyFile("pseudonym.key", 10)
			},
			says: "configure theirs under pseudonyms.key",
		},
	} {
		before := stored(t, js)
		r := start(c.wrong)
		push(r)
		eventually(t, "the other "+name+" is seen", func() bool {
			text, status := r.verbose()
			return status == http.StatusOK && strings.Contains(text, "the "+name+" is not that of the other receivers") && strings.Contains(text, c.says)
		})
		r.logged("relay waits and tries again; accepted deliveries are safe in the journal")
		for command, want := range map[string]int{"status": exitFailed, "doctor": exitFailed} {
			stdout, stderr, code := r.finish(command, "--ops", r.ops)
			if code != want || !strings.Contains(stdout, c.says) {
				t.Errorf("%s: %s ended with %d and said\n%s%s", name, command, code, stdout, stderr)
			}
		}
		if got := stored(t, js); got != before {
			t.Errorf("with another %s %d were told", name, got-before)
		}
		if c.repair == nil {
			continue
		}
		r.terminate()
		c.repair(r)
		r.start()
		eventually(t, "what was accepted is told", func() bool { return stored(t, js) == before+1 })
	}
}
