package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

const raw = schemas.StreamRaw

func TestPublishKeepsOrderAndTellsSequences(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	var want []string
	next := uint64(1)
	for _, n := range []int{1, 15, 16, 500, 501} {
		from := int(next)
		msgs := events(raw, from, from+n-1)
		seqs := publish(t, b, raw, msgs...)
		for i, seq := range seqs {
			if seq != next+uint64(i) {
				t.Fatalf("message %d of %d has sequence %d, want %d", i, n, seq, next+uint64(i))
			}
		}
		next += uint64(n)
		want = append(want, ids(from, from+n-1)...)
	}
	got := stored(t, b, raw)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPublishedMessageArrivesAsItIs(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	m := event(raw, "acme:x:1")
	m.Subject = "postern.raw.acme"
	m.Header["ce-time"] = []string{"2026-01-02T03:04:05Z"}
	m.Header[schemas.HeaderContentType] = []string{schemas.ContentType}
	m.Body = []byte("\x00\xff\r\n\r\nbinary")
	seq := publish(t, b, raw, m)[0]
	got, err := b.Get(t.Context(), raw, seq)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Header, got.Header); diff != "" {
		t.Errorf("header:\n%s", diff)
	}
	if got.Subject != m.Subject || string(got.Data) != string(m.Body) || got.Seq != seq || got.Time.IsZero() {
		t.Errorf("got %+v", got)
	}
	if len(m.Header) != 4 {
		t.Errorf("publishing changed the caller's header: %v", m.Header)
	}
	if _, err := b.Get(t.Context(), raw, seq+1); !errors.Is(err, bus.ErrNoMessage) {
		t.Errorf("a message that isn't there: %v", err)
	}
}

// A repeat stores nothing and is known for one by having no sequence, whatever
// part of it is there already and however it is cut.
func TestPublishTwiceStoresOnce(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	type span struct{ from, to int }
	for name, calls := range map[string][][]span{
		"single again":                     {{{1, 1}}, {{1, 1}}},
		"batch again":                      {{{1, 100}}, {{1, 100}}},
		"batch with a part that was there": {{{1, 40}}, {{20, 120}}},
		"batch with one in its middle":     {{{60, 60}}, {{1, 120}}},
		"twice in one call":                {{{1, 30}, {1, 30}}},
		"twice in one call, other batches": {{{1, 510}, {1, 510}}},
		"twice in one call, one by one":    {{{1, 3}, {1, 3}}},
		"batches that cut differently":     {{{1, 50}}, {{1, 90}}, {{40, 150}}},
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			sequence := map[string]uint64{}
			for _, spans := range calls {
				var msgs []schemas.Message
				for _, s := range spans {
					for _, m := range events(raw, s.from, s.to) {
						m.Subject, m.ID, m.Header = "postern.raw."+source, source+":"+m.ID, nil
						msgs = append(msgs, m)
					}
				}
				for i, seq := range publish(t, b, raw, msgs...) {
					first, again := sequence[msgs[i].ID]
					if again != (seq == 0) {
						t.Errorf("%s has sequence %d now, and %d before", msgs[i].ID, seq, first)
					}
					if !again {
						sequence[msgs[i].ID] = seq
					}
				}
			}
			n := 0
			err := b.Tail(t.Context(), bus.TailOptions{Stream: raw, Subjects: []string{"postern.raw." + source}}, func(m bus.TailMessage) error {
				n++
				if id := m.Header[schemas.HeaderMsgID][0]; sequence[id] != m.Seq {
					t.Errorf("%s is at %d, was told to be at %d", id, m.Seq, sequence[id])
				}
				return nil
			})
			if err != nil || n != len(sequence) {
				t.Errorf("%d messages are stored, want %d: %v", n, len(sequence), err)
			}
		})
	}
}

// A repeated id would make the server reject the whole batch.
func TestPublishSendsAnIDOnce(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	sub, err := bus.Conn(b).SubscribeSync("postern.raw.>")
	if err != nil {
		t.Fatal(err)
	}
	msgs := append(events(raw, 1, 30), events(raw, 11, 40)...)
	seqs := publish(t, b, raw, append(msgs, event(raw, "e40"), event(raw, "e41"))...)
	if seqs[29] != 30 || seqs[30] != 0 || seqs[50] != 31 || seqs[60] != 0 || seqs[61] != 41 {
		t.Errorf("got %v", seqs)
	}
	for i := range 41 {
		if _, err := sub.NextMsg(time.Second); err != nil {
			t.Fatalf("only %d messages were sent: %v", i, err)
		}
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("%s was sent again", m.Subject)
	}
}

func TestPublishStopsAtWhatCanNeverBeStored(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	with := func(change func(*schemas.Message)) schemas.Message {
		m := event(raw, "bad")
		change(&m)
		return m
	}
	header := func(name, value string) schemas.Message {
		return with(func(m *schemas.Message) { m.Header[name] = []string{value} })
	}
	subject := func(s string) schemas.Message {
		return with(func(m *schemas.Message) { m.Subject = s })
	}
	id := func(s string) schemas.Message {
		return with(func(m *schemas.Message) { m.ID, m.Header = s, nil })
	}
	largest := with(func(m *schemas.Message) { m.Body = make([]byte, b.MaxPayload()-m.Size()+len(m.Body)) })
	if largest.Size() != b.MaxPayload() {
		t.Fatalf("the largest message has %d bytes, want %d", largest.Size(), b.MaxPayload())
	}
	publish(t, b, raw, largest)
	n := uint64(1) // what is stored so far
	for name, m := range map[string]schemas.Message{
		"too large":                      with(func(m *schemas.Message) { m.Body = make([]byte, b.MaxPayload()) }),
		"too much in its header":         header("ce-subject", strings.Repeat("x", 65_400)),
		"subject of another stream":      subject("postern.events.acme"),
		"subject without tail":           subject("postern.raw"),
		"subject with an empty token":    subject("postern.raw.acme..x"),
		"subject with an empty end":      subject("postern.raw.acme."),
		"subject with a wildcard":        subject("postern.raw.*"),
		"subject with a wildcard end":    subject("postern.raw.>"),
		"subject with a space":           subject("postern.raw.a b"),
		"subject that is too long":       subject("postern.raw." + strings.Repeat("x", 1100)),
		"another stream":                 with(func(m *schemas.Message) { m.Stream = schemas.StreamOps }),
		"no id":                          id(""),
		"id with a line break":           id("a\r\nb"),
		"id with a space":                id("a b"),
		"id that is too long":            id(strings.Repeat("x", 601)),
		"id that its header contradicts": header(schemas.HeaderMsgID, "other"),
		"header that orders the server":  header("Nats-Rollup", "all"),
		"header with a line break":       header("ce-subject", "a\nb"),
		"header with an outer space":     header("ce-subject", " a"),
		"header with a strange name":     header("ce subject", "a"),
	} {
		for _, before := range []int{0, 20} {
			t.Run(fmt.Sprintf("%s after %d", name, before), func(t *testing.T) {
				var msgs []schemas.Message
				for i := range before {
					msgs = append(msgs, event(raw, fmt.Sprintf("e%d", n+uint64(i))))
				}
				good := event(raw, "behind")
				seqs, err := b.Publish(t.Context(), raw, append(msgs, m, good))
				if !errors.Is(err, schemas.ErrUnpublishable) {
					t.Errorf("got the error %v", err)
				}
				if err != nil && (strings.Contains(err.Error(), m.Subject) || m.ID != "" && strings.Contains(err.Error(), m.ID)) {
					t.Errorf("the error tells what is in the message: %v", err)
				}
				if len(seqs) != before {
					t.Fatalf("%d are stored, want %d", len(seqs), before)
				}
				n += uint64(before)
				if state, err := b.StreamState(t.Context(), raw); err != nil || state.Last != n {
					t.Errorf("last sequence is %d, %v, want %d", state.Last, err, n)
				}
			})
		}
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int{1, 50} {
		if seqs, err := b.Publish(ctx, raw, events(raw, 1, n)); !errors.Is(err, context.Canceled) || len(seqs) != 0 {
			t.Errorf("%d messages: %v, %v", n, seqs, err)
		}
	}
	if seqs, err := b.Publish(t.Context(), raw, nil); err != nil || len(seqs) != 0 {
		t.Errorf("nothing: %v, %v", seqs, err)
	}
}

func TestConcurrentPublishersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	const publishers, each = 4, 120
	errs := make(chan error, publishers)
	for p := range publishers {
		go func() {
			var err error
			for i := 0; i < each && err == nil; {
				n := min(each-i, 1+(i+p)%40)
				var msgs []schemas.Message
				for j := range n {
					msgs = append(msgs, event(raw, fmt.Sprintf("p%d-%03d", p, i+j)))
				}
				_, err = b.Publish(t.Context(), raw, msgs)
				i += n
			}
			errs <- err
		}()
	}
	for range publishers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	all := stored(t, b, raw)
	if len(all) != publishers*each {
		t.Fatalf("%d are stored, want %d", len(all), publishers*each)
	}
	for p := range publishers {
		var mine []string
		for _, id := range all {
			if strings.HasPrefix(id, fmt.Sprintf("p%d-", p)) {
				mine = append(mine, id)
			}
		}
		if !slices.IsSorted(mine) {
			t.Errorf("publisher %d: out of order: %v", p, mine)
		}
	}
}
