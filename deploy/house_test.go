package deploy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// house is what compose.yaml composes, on loopback: three NATS servers, two
// receivers, and HAProxy.
type house struct {
	secrets   string
	nats      []*process
	urls      []string // of the NATS servers
	monitors  []string // of the NATS servers
	receivers []receiver
	hooks     []string // URLs that lead to each receiver
}

// startHouse runs it with the files that compose.yaml gives to each container.
func startHouse(t *testing.T) *house {
	t.Helper()
	tool(t, "haproxy", "haproxy")
	h := &house{secrets: secretsOf(t)}
	h.startNATS(t)

	changes := []string{
		"/run/secrets", h.secrets,
		"data_dir: /var/lib/postern", "data_dir: data",
		`":8080"`, `"127.0.0.1:0"`,
		`":8081"`, `"127.0.0.1:0"`,
		"tls://nats-1:4222,tls://nats-2:4222,tls://nats-3:4222", strings.Join(h.urls, ","),
		"allow: [203.0.113.10, 203.0.113.11]", "allow: [" + friend + "]",
		"arn:aws:sns:us-east-1:123456789012:REPLACE-ME", corastonetest.Topic,
		"trusted_proxies: [172.31.254.2]", "trusted_proxies: [127.0.0.1]",
		"10GiB", "1GiB",
	}
	for range 2 {
		dir := t.TempDir()
		write(t, dir, "postern.yaml", sample(t, "compose/postern/postern.yaml", changes...))
		write(t, dir, "sns.pem", signerCertificate(t))
		h.receivers = append(h.receivers, serve(t, "-c", dir))
	}
	// One before each, so that the test can choose the receiver.
	for _, r := range h.receivers {
		address := startHAProxyBefore(t, h.secrets, port(r.ops), r.ingress, r.ingress)
		h.hooks = append(h.hooks, "https://"+address+"/hooks/corastone")
	}
	return h
}

func (h *house) startNATS(t *testing.T) {
	t.Helper()
	server := must(t, buildNATS)
	var client, route []string
	for range 3 {
		client, route = append(client, freeAddress(t)), append(route, freeAddress(t))
	}
	for i := range 3 {
		dir, monitor := t.TempDir(), freeAddress(t)
		passwords, err := os.ReadFile(filepath.Join(h.secrets, "nats-passwords.conf"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "passwords.conf", string(passwords))
		conf := write(t, dir, "nats.conf", sample(t, "nats/nats.conf",
			"0.0.0.0:4222", client[i],
			"127.0.0.1:8222", monitor,
			"0.0.0.0:6222", route[i],
			"nats-route://nats-1:6222", "nats-route://"+route[0],
			"nats-route://nats-2:6222", "nats-route://"+route[1],
			"nats-route://nats-3:6222", "nats-route://"+route[2],
			"/run/secrets", h.secrets,
			`"/data"`, `"`+filepath.Join(dir, "data")+`"`,
		))
		name := fmt.Sprintf("NATS_NAME=nats-%d", i+1)
		h.nats = append(h.nats, start(t, []string{name}, server, "-c", conf))
		h.urls, h.monitors = append(h.urls, "tls://"+client[i]), append(h.monitors, "http://"+monitor)
	}
	for i, p := range h.nats {
		p.listens(client[i])
	}
}

// connect connects a user of nats.conf.
func (h *house) connect(t *testing.T, user string) (*nats.Conn, jetstream.JetStream, *failures) {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(h.secrets, "nats-"+user+".password"))
	if err != nil {
		t.Fatal(err)
	}
	var denied failures
	nc, err := nats.Connect(strings.Join(h.urls, ","),
		nats.UserInfo(user, strings.TrimSpace(string(password))),
		nats.Secure(&tls.Config{RootCAs: insideCA(t, h.secrets)}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied.add(err) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js, &denied
}

// failures are what a server refused.
type failures struct{ output }

func (f *failures) add(err error) { fmt.Fprintln(f, err) }

// The house of compose.yaml stands: a push that reaches both receivers becomes
// one event on three servers, also when one of them dies; and nobody may do more
// with NATS than nats.conf says.
func TestTheHouseOfComposeStands(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	node := newNode(t, 5)
	_, operator, _ := h.connect(t, "operator")
	events := h.events(t, operator)

	t.Run("one fact, two receivers, one event", func(t *testing.T) {
		h.tell(t, notify(t, node))
		h.published(t, events, 1)
		h.tell(t, notify(t, node))
		h.published(t, events, 2)
	})
	t.Run("streams are on three disks, and synced", func(t *testing.T) {
		info, err := events.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%d replicas, want 3", info.Config.Replicas)
		}
		for _, m := range h.monitors {
			if said := newCaller(t, stranger, nil).get(t, m+"/jsz"); !strings.Contains(said, `"sync_always": true`) {
				t.Errorf("a server does not sync always: %s", said)
			}
		}
	})
	t.Run("a receiver can't harm a stream", func(t *testing.T) { h.receiverIsBound(t) })
	t.Run("a subscriber reads its consumer and nothing else", func(t *testing.T) { h.subscriberIsBound(t, operator) })
	t.Run("a server dies", func(t *testing.T) {
		if os.Getenv("LONG_TESTS") == "" {
			t.Skip("LONG_TESTS is not set: the others take some seconds to elect new leaders")
		}
		h.nats[0].kill()
		h.tell(t, notify(t, node))
		h.published(t, events, 3)
	})
}

// tell pushes the same push to every receiver.
func (h *house) tell(t *testing.T, push corastonetest.Push) {
	t.Helper()
	roots := insideCA(t, h.secrets)
	for _, url := range h.hooks {
		newCaller(t, friend, roots).want(t, http.StatusOK, url, push)
	}
}

// events returns the stream when it is there and both receivers follow it.
func (h *house) events(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	var stream jetstream.Stream
	eventually(t, "the streams are there", func() bool {
		var err error
		stream, err = js.Stream(t.Context(), "POSTERN_EVENTS")
		return err == nil
	})
	return stream
}

// published waits until both receivers have dealt with what they took, and
// counts the events.
func (h *house) published(t *testing.T, events jetstream.Stream, want uint64) {
	t.Helper()
	c := newCaller(t, stranger, insideCA(t, h.secrets))
	for i, r := range h.receivers {
		eventually(t, fmt.Sprintf("receiver %d has told everything", i+1), func() bool {
			return total(t, c.get(t, "https://"+r.ops+"/metrics"), "postern_deliveries_relayed_total") == float64(want)
		})
	}
	info, err := events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != want {
		t.Errorf("%d events are on the bus, want %d", info.State.Msgs, want)
	}
}

func (h *house) receiverIsBound(t *testing.T) {
	t.Helper()
	_, js, denied := h.connect(t, "receiver")
	raw, err := js.Stream(t.Context(), "POSTERN_RAW")
	if err != nil {
		t.Fatal(err)
	}
	events, err := js.Stream(t.Context(), "POSTERN_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for api, try := range map[string]func(context.Context) error{
		"DELETE.POSTERN_RAW":        func(ctx context.Context) error { return js.DeleteStream(ctx, "POSTERN_RAW") },
		"PURGE.POSTERN_RAW":         func(ctx context.Context) error { return raw.Purge(ctx) },
		"UPDATE.POSTERN_RAW":        func(ctx context.Context) error { _, err := js.UpdateStream(ctx, raw.CachedInfo().Config); return err },
		"MSG.DELETE.POSTERN_EVENTS": func(ctx context.Context) error { return events.DeleteMsg(ctx, 1) },
	} {
		// Who isn't allowed hears nothing.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := try(ctx); err == nil {
			t.Errorf("a receiver may %s", api)
		}
		cancel()
		eventually(t, "the server denies "+api, func() bool { return strings.Contains(denied.String(), "$JS.API.STREAM."+api) })
	}
}

func (h *house) subscriberIsBound(t *testing.T, operator jetstream.JetStream) {
	t.Helper()
	ctx := t.Context()
	for _, durable := range []string{"ledger", "another"} {
		_, err := operator.CreateConsumer(ctx, "POSTERN_EVENTS", jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
	}
	nc, js, denied := h.connect(t, "ledger")
	consumer, err := js.Consumer(ctx, "POSTERN_EVENTS", "ledger")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(2, jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for m := range batch.Messages() {
		if !strings.HasPrefix(m.Subject(), "postern.events.corastone.process.succeeded.") {
			t.Errorf("it got a message of %s", m.Subject())
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Errorf("an acknowledgement is not heard: %v", err)
		}
		got++
	}
	if got != 2 || batch.Error() != nil {
		t.Errorf("it got %d events of 2, %v", got, batch.Error())
	}
	if info, err := consumer.Info(ctx); err != nil || info.NumAckPending != 0 || info.NumPending != 0 {
		t.Errorf("%v %v, want everything acknowledged", info, err)
	}

	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := js.Consumer(short, "POSTERN_EVENTS", "another"); err == nil {
		t.Error("it may ask for another's consumer")
	}
	if _, err := js.CreateConsumer(short, "POSTERN_RESTRICTED", jetstream.ConsumerConfig{}); err == nil {
		t.Error("it may make consumers")
	}
	if _, err := js.Stream(short, "POSTERN_RAW"); err == nil {
		t.Error("it may ask for a stream")
	}
	// Neither by itself nor with the server's help can it put anything onto a
	// stream.
	if err := nc.Publish("postern.events.made.up.by.me", nil); err != nil {
		t.Fatal(err)
	}
	raw, err := operator.Stream(ctx, "POSTERN_RAW")
	if err != nil {
		t.Fatal(err)
	}
	before, err := raw.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.POSTERN_EVENTS.ledger", "postern.raw.injected", []byte(`{"batch":1,"no_wait":true}`)); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("$JS.API.CONSUMER.INFO.POSTERN_EVENTS.ledger", nil, patience); err != nil {
		t.Fatal(err) // it is behind the request above
	}
	after, err := raw.Info(ctx)
	if err != nil || after.State.LastSeq != before.State.LastSeq {
		t.Errorf("something came onto a stream: %d messages, before %d, %v", after.State.LastSeq, before.State.LastSeq, err)
	}
	if !strings.Contains(denied.String(), "postern.events.made.up.by.me") {
		t.Errorf("nobody denied it to publish: %s", denied)
	}
	if nc.LastError() != nil && !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
		t.Error(nc.LastError())
	}
}
