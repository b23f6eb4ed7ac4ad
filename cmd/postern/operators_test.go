package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
)

// operators are the tokens of a receiver that [operated] makes.
const operators = `
ops:
  tokens:
    - {name: vera, role: viewer, token: {file: vera.token}}
    - {name: otto, role: operator, token: {file: otto.token}}
    - {name: ursula, role: unseal, token: {file: ursula.token}}
nats: {embedded: {users: [{name: ops, password: {file: nats.password}, allow: all}]}}
`

// operated returns a running receiver with a token for each role.
func operated(t *testing.T) *receiver {
	t.Helper()
	r := newReceiver(t, operators)
	for _, name := range []string{"vera", "otto", "ursula"} {
		r.write(name+".token", "token of "+name+" that nobody guesses\n")
	}
	r.write("nats.password", "correct horse battery\n")
	r.startBroker()
	eventually(t, "the streams are there", func() bool { return r.as("", "streams", "status").code == exitOK })
	return r
}

// ran is what a command did.
type ran struct {
	code           int
	stdout, stderr string
}

// as runs a command against the receiver with somebody's token, "" for none.
func (r *receiver) as(name string, args ...string) ran {
	r.t.Helper()
	args = append(args, "--ops", r.ops)
	if name != "" {
		args = append(args, "--token-file", filepath.Join(r.dir, name))
	}
	var stdout, stderr bytes.Buffer
	code := run(r.t.Context(), args, nil, &stdout, &stderr, []string{"NO_COLOR=1"})
	return ran{code, stdout.String(), stderr.String()}
}

// want fails unless the exit code is the one that is wanted.
func (d ran) want(t testing.TB, what string, code int) ran {
	t.Helper()
	if d.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", what, d.code, code, d.stdout, d.stderr)
	}
	return d
}

func decoded[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// actions returns what operators did: "event actor target outcome".
func (r *receiver) actions() []string {
	r.t.Helper()
	js := connect(r.t, strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
	list := []string{}
	for _, m := range r.held(js, "POSTERN_OPS") {
		if !strings.HasPrefix(m.Subject(), "postern.ops.postern.") {
			continue
		}
		var body struct {
			Data struct {
				Actor           string
				Target, Outcome *string
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Data(), &body, json.MatchCaseInsensitiveNames(true)); err != nil {
			r.t.Fatal(err)
		}
		text := strings.TrimPrefix(m.Subject(), "postern.ops.postern.") + " " + body.Data.Actor
		for _, v := range []*string{body.Data.Target, body.Data.Outcome} {
			if v != nil {
				text += " " + *v
			}
		}
		list = append(list, text)
	}
	return list
}

// held returns all messages that a stream holds.
func (r *receiver) held(js jetstream.JetStream, stream string) []jetstream.Msg {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	c, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		r.t.Fatal(err)
	}
	var list []jetstream.Msg
	for n := c.CachedInfo().NumPending; uint64(len(list)) < n; {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}
