package relay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

func TestDeliveryBecomesRawAndEvents(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	w.run(b)
	receipt := w.accept("m1", "process p1 success\nrestricted p2\ndrift transaction.mood")
	w.drain()

	want := map[schemas.Stream][]string{
		schemas.StreamRaw:        {"postern.raw.feed"},
		schemas.StreamEvents:     {"postern.events.feed.process.succeeded.p1", "postern.events.feed.process.succeeded.p2"},
		schemas.StreamRestricted: {"postern.restricted.feed.process.succeeded.p2"},
		schemas.StreamOps:        {"postern.ops.feed.schema_drift"},
		schemas.StreamQuarantine: {},
	}
	for stream, subjectsWanted := range want {
		if diff := cmp.Diff(subjectsWanted, subjects(t, b, stream)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stream, diff)
		}
	}
	raw := messages(t, b, schemas.StreamRaw)[0]
	if got := raw.Header[schemas.HeaderDelivery]; len(got) != 1 || got[0] != receipt.ID {
		t.Errorf("raw record names delivery %v, want %s", got, receipt.ID)
	}
	if strings.Contains(string(raw.Data), "process p1") {
		t.Error("the raw record is not sealed")
	}
	eventually(t, "the journal forgets what was told", func() bool { return w.journal.Stats().Entries == 0 })
}

func TestEachFactIsToldOnce(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	w.run(b)
	w.accept("m1", "process p1 success assetIds=A")
	w.drain()
	forgotten(t, b)
	w.accept("m2", "process p1 success assetIds=A") // the same fact under another id
	w.accept("m3", "process p1 success")            // and told with less
	w.drain()
	if diff := cmp.Diff([]string{"feed:process:p1:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(messages(t, b, schemas.StreamRaw)); n != 3 {
		t.Errorf("%d raw records, want each delivery's", n)
	}
}

func TestWhatALaterTellingAddsIsToldOnce(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	w.run(b)
	w.accept("m1", "process p1 success assetIds=A")
	w.accept("m2", "process p1 success assetIds=A securityIds=S orchestration=O") // in one batch with the first, or not
	w.drain()
	forgotten(t, b)
	w.accept("m3", "process p1 success assetIds=A securityIds=S orchestration=O\nprocess p9 success")
	w.drain()
	want := []string{"feed:process:p1:success", "feed:process:p1:success:details", "feed:process:p9:success"}
	if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	body := string(messages(t, b, schemas.StreamEvents)[1].Data)
	if !strings.Contains(body, `"added":["affects.securityIds","orchestrationId"]`) {
		t.Errorf("the addition doesn't say what it adds: %s", body)
	}
}

func TestContradictionGoesToQuarantine(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	w.run(b)
	w.accept("m1", "process p1 success")
	w.accept("m2", "process p1 success tx=other\nprocess p2 success")
	w.drain()
	if diff := cmp.Diff([]string{"postern.quarantine.feed.conflict"}, subjects(t, b, schemas.StreamQuarantine)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"postern.ops.feed.conflict"}, subjects(t, b, schemas.StreamOps)); diff != "" {
		t.Errorf("ops (-want +got):\n%s", diff)
	}
	if got := ids(t, b, schemas.StreamEvents); got[0] != "feed:process:p1:success" {
		t.Errorf("what was told first is not what stays: %v", got)
	}
}

func TestTransportConflictGoesToQuarantine(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	w.run(b)
	w.accept("m1", "process p1 success")
	w.accept("m1", "process p2 success")
	w.drain()
	if diff := cmp.Diff([]string{"feed:process:p1:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"postern.quarantine.feed.conflict"}, subjects(t, b, schemas.StreamQuarantine)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
}

func TestWhatCantBecomeAnEventIsKeptAndTheRelayGoesOn(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	w.run(b)
	for i, payload := range []string{"unusable", "invalid", "panic", fmt.Sprintf("large %d", 9<<20)} {
		w.accept(fmt.Sprint("m", i), payload)
	}
	w.acceptAs(handlers.Delivery{Payload: []byte("process old success"), Stale: true}, "m8")
	w.accept("m9", "process p1 success")
	w.drain()
	want := []string{
		"postern.quarantine.feed.unknown_kind", "postern.quarantine.feed.invalid_event",
		"postern.quarantine.feed.panic", "postern.quarantine.feed.unpublishable",
		"postern.quarantine.feed.stale",
	}
	if diff := cmp.Diff(want, subjects(t, b, schemas.StreamQuarantine)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"feed:process:p1:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(messages(t, b, schemas.StreamRaw)); n != 6 {
		t.Errorf("%d raw records, want each delivery's", n)
	}
}

func TestPoisonIsPutAwayUnread(t *testing.T) {
	w := newWorld(t)
	w.accept("m1", "process p1 success")
	w.accept("m2", "process p2 success")
	// The process dies three times while it translates the first.
	for range 3 {
		ctx := t.Context()
		entries, err := w.journal.Read(ctx, 0, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.journal.Guard(entries[0].Seq, entries[0].Seq); err != nil {
			t.Fatal(err)
		}
		w.crash()
	}
	b := bustest.Server(t)
	var read atomic.Int32
	w.config = func(c *relay.Config) {
		c.Normalize["test"] = func(d handlers.Delivery) (handlers.Output, error) {
			if strings.Contains(string(d.Payload), "p1") {
				read.Add(1)
			}
			return normalize(d)
		}
	}
	w.run(b)
	w.drain()
	if diff := cmp.Diff([]string{"postern.quarantine.feed.poison"}, subjects(t, b, schemas.StreamQuarantine)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"feed:process:p2:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if read.Load() > 0 {
		t.Error("the entry at which the process died was read again")
	}
}

func TestBrokerAwayLosesNothing(t *testing.T) {
	server := bustest.NewExternal(t)
	b := server.Bus()
	w := newWorld(t)
	w.config = func(c *relay.Config) { c.TrimAfter = time.Hour }
	w.run(b)
	w.accept("m1", "process p1 success")
	w.drain()
	server.Stop()
	want := []string{"feed:process:p1:success"}
	for i := 2; i <= 40; i++ {
		w.accept(fmt.Sprint("m", i), fmt.Sprintf("process p%d success", i)) // accepted all the same
		want = append(want, fmt.Sprintf("feed:process:p%d:success", i))
	}
	server.Start()
	w.drain()
	if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestWhatABrokerLostIsToldAgain(t *testing.T) {
	server := bustest.NewExternal(t)
	b := server.Bus()
	w := newWorld(t)
	w.config = func(c *relay.Config) { c.TrimAfter = time.Hour }
	w.run(b)
	w.accept("m1", "process p1 success")
	w.accept("m2", "process p2 success")
	w.drain()
	server.Wipe()
	w.accept("m3", "process p3 success")
	eventually(t, "everything is there again", func() bool {
		err := b.Prepare(t.Context())
		return err == nil && len(ids(t, b, schemas.StreamEvents)) >= 3
	})
	w.drain()
	got := map[string]int{}
	for _, id := range ids(t, b, schemas.StreamEvents) {
		got[id]++
	}
	want := map[string]int{"feed:process:p1:success": 1, "feed:process:p2:success": 1, "feed:process:p3:success": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestNothingIsTrimmedWhileTheBrokerIsAway(t *testing.T) {
	server := bustest.NewExternal(t)
	b := server.Bus()
	w := newWorld(t)
	const trimAfter = 300 * time.Millisecond
	w.config = func(c *relay.Config) { c.TrimAfter = trimAfter }
	w.run(b)
	w.accept("m1", "process p1 success")
	w.drain()
	server.Stop()
	away := time.NewTimer(3 * trimAfter)
	defer away.Stop()
	<-away.C
	if n := w.journal.Stats().Entries; n != 1 {
		t.Fatalf("the journal holds %d entries: it forgot what the broker may have lost", n)
	}
	server.Wipe() // and it did lose it
	eventually(t, "what was lost is told again, and then forgotten", func() bool {
		return w.journal.Stats().Entries == 0
	})
	if diff := cmp.Diff([]string{"feed:process:p1:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestALostEndIsNoticedBehindWhatOthersPublished(t *testing.T) {
	server := bustest.NewExternal(t)
	one, two := newWorld(t), newWorld(t)
	long := func(c *relay.Config) { c.TrimAfter = time.Hour }
	one.config, two.config = long, long
	b := server.Bus()
	one.run(server.Bus())
	one.accept("m1", "process p1 success")
	one.drain()
	server.Stop()
	server.Save()
	server.Start()
	one.accept("m2", "process p2 success")
	one.accept("m3", "process p3 success")
	one.drain()
	one.stop() // and while it is away, the broker loses the last seconds
	server.Restore()
	two.run(b)
	for i := range 4 {
		two.accept(fmt.Sprint("n", i), fmt.Sprintf("process q%d success", i))
	}
	two.drain()

	one.run(server.Bus())
	one.accept("m4", "process p4 success")
	eventually(t, "what was lost is told again", func() bool {
		got := map[string]int{}
		for _, id := range ids(t, b, schemas.StreamEvents) {
			got[id]++
		}
		for _, id := range []string{"p1", "p2", "p3", "p4", "q0", "q3"} {
			if got["feed:process:"+id+":success"] != 1 {
				return false
			}
		}
		return true
	})
}

func TestTwoReceiversTellEachFactOnce(t *testing.T) {
	server := bustest.NewExternal(t)
	one, two := newWorld(t), newWorld(t)
	b := server.Bus(shortMemory)
	one.run(b)
	two.run(server.Bus(shortMemory))
	want := map[string]int{}
	for i := range 200 {
		payload := fmt.Sprintf("process p%d success", i)
		want[fmt.Sprintf("feed:process:p%d:success", i)] = 1
		if r1, r2 := one.accept(fmt.Sprint("m", i), payload), two.accept(fmt.Sprint("m", i), payload); r1.ID != r2.ID {
			t.Fatalf("delivery ids differ between receivers: %s, %s", r1.ID, r2.ID)
		}
	}
	one.drain()
	two.drain()
	got := map[string]int{}
	for _, id := range ids(t, b, schemas.StreamEvents) {
		got[id]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTwoReceiversNoticeThatTheirTellingsDiffer(t *testing.T) {
	server := bustest.NewExternal(t)
	one, two := newWorld(t), newWorld(t)
	b := server.Bus()
	one.run(b)
	two.run(server.Bus())
	const facts = 60
	for i := range facts {
		one.accept(fmt.Sprint("m", i), fmt.Sprintf("process c%d success\nprocess d%d success", i, i))
		two.accept(fmt.Sprint("n", i), fmt.Sprintf("process d%d success orchestration=O", i))
		two.accept(fmt.Sprint("o", i), fmt.Sprintf("process c%d success tx=other", i))
	}
	one.drain()
	two.drain()
	told := map[string]int{}
	for _, id := range ids(t, b, schemas.StreamEvents) {
		told[id]++
	}
	records := map[string]bool{}
	for _, m := range messages(t, b, schemas.StreamQuarantine) {
		records[m.Header[schemas.HeaderDelivery][0]] = true
	}
	if len(records) != facts {
		t.Errorf("%d of %d contradictions are in quarantine", len(records), facts)
	}
	for i := range facts {
		for _, id := range []string{fmt.Sprintf("c%d", i), fmt.Sprintf("d%d", i)} {
			if n := told["feed:process:"+id+":success"]; n != 1 {
				t.Errorf("%s was told %d times", id, n)
			}
		}
	}
}

// refusing is a bus that is full until it is told otherwise.
type refusing struct {
	*bus.Bus
	full atomic.Bool
}

func (r *refusing) Publish(ctx context.Context, s schemas.Stream, msgs []schemas.Message) ([]uint64, error) {
	if s == schemas.StreamEvents && r.full.Load() {
		return nil, errors.New("maximum bytes exceeded")
	}
	return r.Bus.Publish(ctx, s, msgs)
}

func TestFullStreamMakesTheRelayWait(t *testing.T) {
	b := &refusing{Bus: bustest.Server(t)}
	b.full.Store(true)
	w := newWorld(t)
	w.run(b)
	w.accept("m1", "process p1 success")
	eventually(t, "raw is stored", func() bool { return len(messages(t, b.Bus, schemas.StreamRaw)) == 1 })
	w.accept("m2", "process p2 success")
	if n := w.journal.Stats().Entries; n != 2 {
		t.Fatalf("the journal holds %d entries, want both", n)
	}
	b.full.Store(false)
	w.drain()
	if diff := cmp.Diff([]string{"feed:process:p1:success", "feed:process:p2:success"}, ids(t, b.Bus, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(messages(t, b.Bus, schemas.StreamRaw)); n != 2 {
		t.Errorf("%d raw records, want 2: waiting must not store them again", n)
	}
}
