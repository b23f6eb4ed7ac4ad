package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// comeback is how soon pushes are accepted again when there is room again.
const comeback = 10 * time.Second

// crowd pushes facts until there is no room for them.
type crowd struct {
	*receiver
	next func(name string) corastonetest.Push
	ids  map[string]string // names of what was accepted, by delivery id
	made int
}

// one pushes another fact and returns the answer.
func (c *crowd) one() int {
	c.t.Helper()
	name := fmt.Sprintf("crowd-%d", c.made)
	status, id := c.pushed(c.next(name))
	c.made++
	switch status {
	case http.StatusOK:
		c.ids[id] = name
	case http.StatusServiceUnavailable: // SNS comes again
	default:
		c.t.Fatalf("a push was answered %d", status)
	}
	return status
}

// newCrowd returns a crowd of what push makes.
func newCrowd(r *receiver, push func(name string) corastonetest.Push) *crowd {
	return &crowd{receiver: r, ids: map[string]string{}, next: push}
}

// untilFull pushes until the answer is 503.
func (c *crowd) untilFull() {
	c.t.Helper()
	for range 20_000 {
		if c.one() == http.StatusServiceUnavailable {
			if status := get(c.t, c.ops+"/readyz"); status != http.StatusServiceUnavailable {
				c.t.Errorf("/readyz says %d while pushes are refused", status)
			}
			return
		}
	}
	c.t.Fatal("it is never full")
}

// backWithin pushes until it is accepted again, which must be soon.
func (c *crowd) backWithin(limit time.Duration) {
	c.t.Helper()
	began := time.Now()
	for c.one() != http.StatusOK {
		if time.Since(began) > limit {
			c.t.Fatalf("pushes are still refused %v after there was room\n%s", limit, c.stderr)
		}
		pause(c.t.Context(), 50*time.Millisecond)
	}
	c.t.Logf("full after %d pushes; accepted again after %v", len(c.ids), time.Since(began).Round(time.Millisecond))
}

// arrived fails unless what was accepted is on a stream, and everything there
// is there once. Nothing else is there, but at most so many that were refused:
// who waited too long for a disk hears 503, and may be kept after all.
func (c *crowd) arrived(js jetstream.JetStream, stream string, refused int) {
	c.t.Helper()
	eventually(c.t, "everything is relayed", func() bool { return c.metric("postern_journal_entries") == "0" })
	told := map[string]int{}
	for _, m := range c.held(js, stream) {
		told[deliveryOf(c.t, m)]++
	}
	for id, n := range told {
		if n != 1 {
			c.t.Errorf("%s is on %s %d times", id, stream, n)
		}
	}
	for id, name := range c.ids {
		if told[id] == 0 {
			c.t.Errorf("%s was accepted and is not on %s", name, stream)
		}
	}
	if more := len(told) - len(c.ids); more > refused {
		c.t.Errorf("%d are on %s, %d were accepted", len(told), stream, len(c.ids))
	}
}

// deliveryOf returns the delivery that a message came with.
func deliveryOf(t testing.TB, m jetstream.Msg) string {
	t.Helper()
	if id := m.Headers().Get("postern-delivery"); id != "" {
		return id // a record
	}
	var event struct {
		DeliveryID string `json:"deliveryid"`
	}
	if err := json.Unmarshal(m.Data(), &event); err != nil || event.DeliveryID == "" {
		t.Fatalf("%s has no delivery: %v", m.Subject(), err)
	}
	return event.DeliveryID
}

// A stream that refuses because it is full has the relay wait, then the
// journal fills, and then pushes are refused with 503 and nothing else. When
// the stream has room again all that goes away by itself, and what was
// accepted is told once.
func TestFullStreamsLoseNothingAndRecoverByThemselves(t *testing.T) {
	node := nodeOf(t, 41)
	remark := strings.Repeat("x", 700)
	for stream, push := range map[string]func(name string) corastonetest.Push{
		"POSTERN_EVENTS": func(name string) corastonetest.Push { return signed(t, node.Notification(investment(name))) },
		"POSTERN_RESTRICTED": func(name string) corastonetest.Push {
			return signed(t, node.Notification(corastonetest.Text(`{"transaction":{"processId":"`+name+`","status":"success","remark":"`+remark+`"}}`)))
		},
		"POSTERN_QUARANTINE": func(name string) corastonetest.Push { return stale(t, node, name) },
	} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			server := bustest.NewExternal(t)
			r := newReceiver(t, "")
			r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "nats: {trim_after: 1s}")
			r.edit("max_bytes: 256MiB", "max_bytes: 100KiB")
			externalConfig(r, server.URL())
			r.start()
			js := connect(t, server.URL())
			full := newCrowd(r, push)
			full.one()
			eventually(t, "the first is there", func() bool { return messages(t, js, stream) == 1 })
			limit(t, js, stream, 20<<10)
			full.untilFull()
			limit(t, js, stream, 64<<20)
			full.backWithin(comeback)
			full.arrived(js, stream, 0)
		})
	}
}

// A journal that fills because the broker is away is the same.
func TestFullJournalLosesNothingAndRecoversByItself(t *testing.T) {
	server := bustest.NewExternal(t)
	r := newReceiver(t, "")
	r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "nats: {trim_after: 1s}")
	r.edit("max_bytes: 256MiB", "max_bytes: 100KiB")
	externalConfig(r, server.URL())
	r.start()
	node := nodeOf(t, 42)
	full := newCrowd(r, func(name string) corastonetest.Push { return signed(t, node.Notification(investment(name))) })
	full.one()
	r.relayed("published", 1)
	for range 2 {
		server.Stop()
		full.untilFull()
		server.Start()
		full.backWithin(comeback)
	}
	full.arrived(connect(t, server.URL()), "POSTERN_EVENTS", 0)
}

// limit sets how much a stream may hold.
func limit(t *testing.T, js jetstream.JetStream, stream string, maxBytes int64) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxBytes = maxBytes
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// messages returns how many messages a stream has, 0 if it isn't there.
func messages(t *testing.T, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}
