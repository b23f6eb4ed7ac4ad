package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

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

// A repeat stores nothing and finds the sequences of the first time, whatever
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
					if first, ok := sequence[msgs[i].ID]; ok && first != seq {
						t.Errorf("%s has sequence %d, at first it had %d", msgs[i].ID, seq, first)
					}
					sequence[msgs[i].ID] = seq
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
	if seqs[30] != 11 || seqs[60] != 40 || seqs[61] != 41 {
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

// What the server itself says decides, whatever we think of the message.
func TestServerErrorsAreClassified(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	nc, err := nats.Connect(external.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var code atomic.Int64
	if _, err := nc.Subscribe("postern.raw.>", func(m *nats.Msg) {
		if m.Reply != "" {
			m.Respond(fmt.Appendf(nil, `{"error":{"code":400,"err_code":%d,"description":"no"},"stream":"POSTERN_RAW","seq":0}`, code.Load()))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for c, unpublishable := range map[int64]bool{
		10054: true,  // message too large
		10097: true,  // header too large
		10077: false, // stream full
		10047: false, // store full
		10023: false, // insufficient resources
		10158: false, // the same id is in process
		10167: false, // too many requests
		10210: false, // too many open batches
		10060: false, // not the stream that was expected
		10009: false, // no leader
		10118: false, // stream offline
		10201: false, // duplicate in a batch; never for a single message
		19999: false, // whatever may come
	} {
		code.Store(c)
		for _, n := range []int{1, 20} {
			seqs, err := b.Publish(t.Context(), raw, events(raw, 1, n))
			if err == nil || len(seqs) != 0 || errors.Is(err, schemas.ErrUnpublishable) != unpublishable {
				t.Errorf("error %d for %d messages: got %v, %v, want it unpublishable: %v", c, n, seqs, err, unpublishable)
			}
		}
	}
}

// A stream with a limit of its own refuses a message that we think is fine; of
// a batch only that one is refused.
func TestServerRefusesOneMessageOfABatch(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bus.Conn(b))
	s, err := js.Stream(t.Context(), "POSTERN_RAW")
	if err != nil {
		t.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.MaxMsgSize = 1000
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	msgs := events(raw, 1, 60)
	msgs[41].Body = make([]byte, 2000)
	seqs, err := b.Publish(t.Context(), raw, msgs)
	if !errors.Is(err, schemas.ErrUnpublishable) || len(seqs) != 41 {
		t.Errorf("got %d sequences and %v", len(seqs), err)
	}
	seqs, err = b.Publish(t.Context(), raw, msgs[42:])
	if err != nil || len(seqs) != 18 {
		t.Errorf("the rest: got %d sequences and %v", len(seqs), err)
	}
}

// A full stream that must not lose what it has says so, and takes more once
// there is room.
func TestFullStreamIsTransient(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamQuarantine: 100_000}
	})
	for _, n := range []int{1, 50} {
		t.Run(fmt.Sprintf("%d at a time", n), func(t *testing.T) {
			var told int
			var err error
			for i := 0; err == nil && i < 1000; i += n {
				msgs := events(schemas.StreamQuarantine, n*10_000+i, n*10_000+i+n-1)
				for j := range msgs {
					msgs[j].Body = make([]byte, 1000)
				}
				var seqs []uint64
				seqs, err = b.Publish(t.Context(), schemas.StreamQuarantine, msgs)
				told += len(seqs)
			}
			if err == nil || errors.Is(err, schemas.ErrUnpublishable) {
				t.Fatalf("a full stream: %v", err)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a full stream doesn't answer")
			}
			all := stored(t, b, schemas.StreamQuarantine)
			if len(all) != told {
				t.Errorf("%d are stored, %d were told", len(all), told)
			}
			s, err := newJS(t, bus.Conn(b)).Stream(t.Context(), string(schemas.StreamQuarantine))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			publish(t, b, schemas.StreamQuarantine, event(schemas.StreamQuarantine, fmt.Sprintf("after-%d", n)))
			if err := s.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// When the answer is lost nobody knows what was stored. A repeat stores what is
// missing, once.
func TestUnknownOutcomeIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 5, 200} {
		t.Run(fmt.Sprintf("%d messages", n), func(t *testing.T) {
			t.Parallel()
			external := bustest.NewExternal(t)
			bustest.Prepare(t, external.Bus())
			p := newProxy(t, external.URL())
			b := external.Bus(func(cfg *bus.Config) { cfg.External.URL = p.url() })
			eventually(t, "connect", func() bool { return b.Epoch() > 0 })
			before := b.Epoch()

			p.setMute(true)
			published := make(chan error, 1)
			go func() {
				seqs, err := b.Publish(t.Context(), raw, events(raw, 1, n))
				if len(seqs) != 0 {
					err = errors.Join(err, errors.New("sequences were told that nobody can know"))
				}
				published <- err
			}()
			direct := external.Bus()
			eventually(t, "the server stores what it doesn't tell", func() bool {
				state, err := direct.StreamState(t.Context(), raw)
				return err == nil && state.Last > 0
			})
			p.cut()
			p.setMute(false)
			if err := <-published; !errors.Is(err, bus.ErrDisconnected) {
				t.Errorf("a lost answer: %v", err)
			}
			eventually(t, "connect again", func() bool { return b.Epoch() > before })
			eventually(t, "publish again", func() bool {
				seqs, err := b.Publish(t.Context(), raw, events(raw, 1, n))
				return err == nil && len(seqs) == n && seqs[0] == 1 && seqs[n-1] == uint64(n)
			})
			got := stored(t, b, raw)
			if diff := cmp.Diff(ids(1, n), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A batch that is never committed leaves nothing behind and is in nobody's way.
func TestOpenBatchIsForgotten(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	nc := bus.Conn(b)
	begin := func(batch string, msgs []schemas.Message) {
		for i, m := range msgs {
			if err := nc.PublishMsg(&nats.Msg{Subject: m.Subject, Data: m.Body, Header: nats.Header{
				"Nats-Msg-Id": {m.ID}, "Nats-Batch-Id": {batch}, "Nats-Batch-Sequence": {fmt.Sprint(i + 1)},
			}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin("open", events(raw, 1, 30))
	publish(t, b, raw, events(raw, 1, 30)...)
	got := stored(t, b, raw)
	if diff := cmp.Diff(ids(1, 30), got); diff != "" {
		t.Error(diff)
	}
	for i := range 50 { // as many as a stream may have
		begin(fmt.Sprintf("open-%d", i), events(raw, 100, 100))
	}
	publish(t, b, raw, events(raw, 31, 60)...)
	got = stored(t, b, raw)
	if diff := cmp.Diff(ids(1, 60), got); diff != "" {
		t.Error(diff)
	}
}

func TestPublishWithoutConnectionFailsAtOnce(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	external.Stop()
	eventually(t, "the connection is lost", func() bool {
		_, err := b.StreamState(t.Context(), raw)
		return errors.Is(err, bus.ErrDisconnected)
	})
	for _, n := range []int{1, 50} {
		began := time.Now()
		seqs, err := b.Publish(t.Context(), raw, events(raw, 1, n))
		if !errors.Is(err, bus.ErrDisconnected) || len(seqs) != 0 || time.Since(began) > time.Second {
			t.Errorf("%d messages: %v, %v after %v", n, seqs, err, time.Since(began))
		}
	}
	if err := bus.Conn(b).Publish("postern.raw.acme", nil); err == nil {
		t.Error("the client keeps messages to send them later")
	}
	external.Start()
	// Nothing of what failed may come later by itself.
	eventually(t, "the connection is back", func() bool {
		state, err := b.StreamState(t.Context(), raw)
		if err == nil && state.Last != 0 {
			t.Fatalf("%d messages came by themselves", state.Last)
		}
		return err == nil
	})
	publish(t, b, raw, events(raw, 1, 50)...)
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
