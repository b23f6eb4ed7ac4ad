package bus_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

func TestDeleteTakesOneMessageAndNoOther(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	const stream = schemas.StreamQuarantine
	record := func(stream schemas.Stream, tail, delivery string) uint64 {
		m := on(stream, tail)
		m.Header[schemas.HeaderDelivery] = []string{delivery}
		return publish(t, b, stream, m)[0]
	}
	first, second := record(stream, "acme.stale", "d1"), record(stream, "acme.bad_json", "d2")
	record(stream, "other.stale", "d3")
	deleted := func(seq uint64, delivery string) bool {
		t.Helper()
		ok, err := b.Delete(t.Context(), stream, seq, delivery)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for seq, wrong := range map[uint64]string{second: "d1", first: "d2", 999: "d2"} {
		if deleted(seq, wrong) {
			t.Errorf("sequence %d was deleted as %s", seq, wrong)
		}
	}
	if !deleted(second, "d2") {
		t.Error("it was not deleted")
	}
	if deleted(second, "d2") {
		t.Error("it was deleted twice")
	}
	if diff := cmp.Diff([]string{"acme.stale", "other.stale"}, tails(t, b, bus.TailOptions{Stream: stream})); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if ok, err := b.Delete(t.Context(), schemas.StreamEvents, record(schemas.StreamEvents, "acme.a.b.c", "d4"), "d4"); ok || err == nil {
		t.Error("an event was deleted")
	}
}

func TestToldKnowsWhatIsThere(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	m := on(schemas.StreamOps, "acme.push_rejected")
	before := time.Now()
	publish(t, b, schemas.StreamOps, m)
	for name, tc := range map[string]struct {
		subject, id string
		since       time.Time
		want        bool
	}{
		"it":              {m.Subject, m.ID, before, true},
		"another id":      {m.Subject, "x", before, false},
		"another subject": {"postern.ops.other.push_rejected", m.ID, before, false},
		"later":           {m.Subject, m.ID, time.Now().Add(time.Hour), false},
	} {
		if got, err := b.Told(t.Context(), schemas.StreamOps, tc.subject, tc.id, tc.since); got != tc.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestHeadersOnlyLeavesTheBodyAndTellsItsSize(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	m := on(schemas.StreamRejected, "acme")
	m.Body = make([]byte, 4321)
	publish(t, b, schemas.StreamRejected, m)
	for _, only := range []bool{false, true} {
		var got []bus.TailMessage
		err := b.Tail(t.Context(), bus.TailOptions{Stream: schemas.StreamRejected, HeadersOnly: only}, func(m bus.TailMessage) error {
			got = append(got, m)
			return nil
		})
		if err != nil || len(got) != 1 {
			t.Fatalf("%d messages, %v", len(got), err)
		}
		if got[0].Size != 4321 || (len(got[0].Data) == 0) != only {
			t.Errorf("headers only %v: size %d, %d bytes", only, got[0].Size, len(got[0].Data))
		}
		if diff := cmp.Diff(m.Header, got[0].Header); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	}
}

func TestTailBehindASequence(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 5)...)
	var got []uint64
	err := b.Tail(t.Context(), bus.TailOptions{Stream: schemas.StreamEvents, After: 3}, func(m bus.TailMessage) error {
		got = append(got, m.Seq)
		return nil
	})
	if diff := cmp.Diff([]uint64{4, 5}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestLastIsTheNewestOfItsSubject(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for _, tail := range []string{"acme", "other"} {
		m := on(schemas.StreamRaw, tail)
		publish(t, b, schemas.StreamRaw, m)
		m.ID += ":again"
		m.Header[schemas.HeaderMsgID] = []string{m.ID}
		publish(t, b, schemas.StreamRaw, m)
	}
	m, err := b.Last(t.Context(), schemas.StreamRaw, "postern.raw.acme")
	if err != nil || m.Seq != 2 {
		t.Errorf("sequence %d, %v; want 2", m.Seq, err)
	}
	if _, err := b.Last(t.Context(), schemas.StreamRaw, "postern.raw.nobody"); !errors.Is(err, bus.ErrNoMessage) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestStreamsReportsWhatIsAndWhatShouldBe(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 3)...)
	publish(t, b, schemas.StreamQuarantine, on(schemas.StreamQuarantine, "acme.stale"))
	js := newJS(t, bustest.Connect(t, b))
	if _, err := js.CreateConsumer(t.Context(), string(schemas.StreamEvents), jetstream.ConsumerConfig{Durable: "ledger"}); err != nil {
		t.Fatal(err)
	}
	reports, err := b.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range reports {
		names = append(names, r.Name)
		if r.MaxBytes <= 0 || len(r.Drift) > 0 || (r.Messages == 0) != r.FirstTime.IsZero() {
			t.Errorf("%+v", r)
		}
	}
	for _, s := range append(schemas.Streams(), "KV_"+schemas.BucketState) {
		if !slices.Contains(names, string(s)) {
			t.Errorf("%s is missing in %q", s, names)
		}
	}
	if r := reports[0]; r.Name != string(schemas.StreamEvents) || r.Messages != 3 || r.Last != 3 || !r.Refuses || r.LastTime.IsZero() {
		t.Errorf("events: %+v", r)
	}
	if diff := cmp.Diff([]bus.ConsumerReport{{Name: "ledger", Pending: 3}}, reports[0].Consumers); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
	for _, r := range reports {
		if r.Name == string(schemas.StreamQuarantine) && r.Open[[2]string{"acme", "stale"}] != 1 {
			t.Errorf("quarantine: %+v", r.Open)
		}
	}
}
