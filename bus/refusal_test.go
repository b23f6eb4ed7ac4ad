package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// What the server itself says decides, whatever we think of the message.
func TestServerErrorsAreClassified(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	if _, err := b.StreamState(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(external.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	// From here on it is we who answer.
	if err := newJS(t, nc).DeleteStream(t.Context(), string(raw)); err != nil {
		t.Fatal(err)
	}
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

// What is larger than the whole stream would be refused for ever, or let go at
// once. Nobody may wait for room for it.
func TestLargerThanItsStreamIsUnpublishable(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bus.Conn(b))
	for _, stream := range []schemas.Stream{raw, schemas.StreamQuarantine} { // one lets go, one refuses
		t.Run(string(stream), func(t *testing.T) {
			resize := func(size int64) {
				t.Helper()
				s, err := js.Stream(t.Context(), string(stream))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
				config := s.CachedInfo().Config
				config.MaxBytes = size
				if _, err := js.UpdateStream(t.Context(), config); err != nil {
					t.Fatal(err)
				}
			}
			sized := func(id string) schemas.Message {
				m := event(stream, id)
				m.Body = make([]byte, 50_000)
				return m
			}
			publish(t, b, stream, sized("e1"))
			state, err := b.StreamState(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			exactly := int64(state.Bytes)

			resize(exactly)
			publish(t, b, stream, sized("e2"))
			if state, err = b.StreamState(t.Context(), stream); err != nil || state.Messages != 1 {
				t.Errorf("what fits exactly: %d messages, %v", state.Messages, err)
			}
			resize(exactly - 1)
			if _, err := b.StreamState(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			for _, before := range []int{0, 1, 20} {
				msgs := events(stream, 100*before+100, 100*before+99+before)
				seqs, err := b.Publish(t.Context(), stream, append(msgs, sized("e3"), event(stream, "behind")))
				if !errors.Is(err, schemas.ErrUnpublishable) || len(seqs) != before {
					t.Errorf("behind %d others: %d sequences, %v", before, len(seqs), err)
				}
			}
			// The bus notices by itself that there is room now.
			resize(exactly)
			publish(t, b, stream, sized("e3"))
		})
	}
}

// When the stream was made smaller behind the bus' back, one refusal is enough
// to notice.
func TestShrunkStreamIsNoticed(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bus.Conn(b))
	publish(t, b, schemas.StreamQuarantine, event(schemas.StreamQuarantine, "e1"))
	s, err := js.Stream(t.Context(), string(schemas.StreamQuarantine))
	if err != nil {
		t.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.MaxBytes = 10_000
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	m := event(schemas.StreamQuarantine, "e2")
	m.Body = make([]byte, 20_000)
	if _, err := b.Publish(t.Context(), schemas.StreamQuarantine, []schemas.Message{m}); err == nil || errors.Is(err, schemas.ErrUnpublishable) {
		t.Errorf("before it could be known: %v", err)
	}
	if _, err := b.Publish(t.Context(), schemas.StreamQuarantine, []schemas.Message{m}); !errors.Is(err, schemas.ErrUnpublishable) {
		t.Errorf("afterwards: %v", err)
	}
}

// When the answer is lost nobody knows what was stored. A repeat stores what is
// missing, once, and tells that the rest was there.
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
			if _, err := b.StreamState(t.Context(), raw); err != nil {
				t.Fatal(err) // what publishing must know can't be asked when it is mute
			}

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
				return err == nil && len(seqs) == n && seqs[0] == 0 && seqs[n-1] == 0
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
