package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// on returns a message with a subject of its own.
func on(stream schemas.Stream, tail string) schemas.Message {
	m := event(stream, "x")
	m.Subject = stream.Prefix() + "." + tail
	m.ID = fmt.Sprintf("%s:%s", stream, tail)
	m.Header[schemas.HeaderMsgID] = []string{m.ID}
	return m
}

// tails returns the subjects that are told, without what all have.
func tails(t *testing.T, b *bus.Bus, o bus.TailOptions) []string {
	t.Helper()
	var all []string
	err := b.Tail(t.Context(), o, func(m bus.TailMessage) error {
		all = append(all, m.Subject[len(o.Stream.Prefix())+1:])
		return nil
	})
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	return all
}

func TestTailTellsWhatMatches(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	key := schemas.Token("an id/with signs")
	for stream, subjects := range map[schemas.Stream][]string{
		schemas.StreamEvents: {
			"acme.process.succeeded.p1", "acme.process.failed.p2", "acme.orchestration.succeeded.o1",
			"other.process.succeeded.p1", "acme.process.succeeded." + key, "acme.future.happened.f1",
		},
		schemas.StreamOps:        {"acme.conflict", "acme.schema_drift", "postern.released"},
		schemas.StreamQuarantine: {"acme.stale", "acme.bad_json", "other.stale"},
		schemas.StreamRaw:        {"acme", "other"},
		schemas.StreamReplay:     {"r1.acme.process.succeeded.p1"},
	} {
		for _, s := range subjects {
			publish(t, b, stream, on(stream, s))
		}
	}
	const (
		events     = schemas.StreamEvents
		ops        = schemas.StreamOps
		quarantine = schemas.StreamQuarantine
	)
	for name, c := range map[string]struct {
		options bus.TailOptions
		want    []string
	}{
		"everything": {bus.TailOptions{Stream: events}, []string{
			"acme.process.succeeded.p1", "acme.process.failed.p2", "acme.orchestration.succeeded.o1",
			"other.process.succeeded.p1", "acme.process.succeeded." + key, "acme.future.happened.f1",
		}},
		"a source":             {bus.TailOptions{Stream: events, Source: "other"}, []string{"other.process.succeeded.p1"}},
		"a type":               {bus.TailOptions{Stream: events, Type: "process.failed"}, []string{"acme.process.failed.p2"}},
		"an entity's types":    {bus.TailOptions{Stream: events, Type: "process.*", Source: "acme"}, []string{"acme.process.succeeded.p1", "acme.process.failed.p2", "acme.process.succeeded." + key}},
		"an event's types":     {bus.TailOptions{Stream: events, Type: "*.succeeded", Key: "o1"}, []string{"acme.orchestration.succeeded.o1"}},
		"a pattern":            {bus.TailOptions{Stream: events, Type: "*.f*"}, []string{"acme.process.failed.p2"}},
		"a type to come":       {bus.TailOptions{Stream: events, Type: "future.*"}, []string{"acme.future.happened.f1"}},
		"a key":                {bus.TailOptions{Stream: events, Key: "p1"}, []string{"acme.process.succeeded.p1", "other.process.succeeded.p1"}},
		"a key with signs":     {bus.TailOptions{Stream: events, Key: "an id/with signs"}, []string{"acme.process.succeeded." + key}},
		"a key's token":        {bus.TailOptions{Stream: events, Key: key}, []string{"acme.process.succeeded." + key}},
		"a subject":            {bus.TailOptions{Stream: events, Subjects: []string{"postern.events.*.*.*.o1", "postern.events.other.>"}}, []string{"acme.orchestration.succeeded.o1", "other.process.succeeded.p1"}},
		"nothing":              {bus.TailOptions{Stream: events, Source: "nobody"}, nil},
		"operations":           {bus.TailOptions{Stream: ops, Source: "acme"}, []string{"acme.conflict", "acme.schema_drift"}},
		"an operation":         {bus.TailOptions{Stream: ops, Type: "platform.conflict"}, []string{"acme.conflict"}},
		"a few operations":     {bus.TailOptions{Stream: ops, Type: "platform.schema_*"}, []string{"acme.schema_drift"}},
		"what operators did":   {bus.TailOptions{Stream: ops, Source: "postern"}, []string{"postern.released"}},
		"a reason":             {bus.TailOptions{Stream: quarantine, Type: "stale"}, []string{"acme.stale", "other.stale"}},
		"a few reasons":        {bus.TailOptions{Stream: quarantine, Type: "bad*"}, []string{"acme.bad_json"}},
		"a source's raw":       {bus.TailOptions{Stream: schemas.StreamRaw, Source: "acme"}, []string{"acme"}},
		"replays":              {bus.TailOptions{Stream: schemas.StreamReplay}, []string{"r1.acme.process.succeeded.p1"}},
		"the last of a type":   {bus.TailOptions{Stream: events, Type: "process.succeeded", Last: 2}, []string{"other.process.succeeded.p1", "acme.process.succeeded." + key}},
		"the last of a few":    {bus.TailOptions{Stream: events, Key: "p1", Last: 9}, []string{"acme.process.succeeded.p1", "other.process.succeeded.p1"}},
		"the last of a source": {bus.TailOptions{Stream: events, Source: "other", Last: 1}, []string{"other.process.succeeded.p1"}},
		"only what is new":     {bus.TailOptions{Stream: events, New: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tails(t, b, c.options)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, o := range map[string]bus.TailOptions{
		"a pattern that is none":      {Stream: events, Type: "[x"},
		"a type like no other":        {Stream: events, Type: "proc?"},
		"a source that can't be":      {Stream: events, Source: "A.b"},
		"a key where there is none":   {Stream: ops, Key: "k"},
		"a type where there is none":  {Stream: schemas.StreamRaw, Type: "x"},
		"a source where there's none": {Stream: schemas.StreamReplay, Source: "acme"},
		"subjects and a source":       {Stream: events, Subjects: []string{"postern.events.>"}, Source: "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			err := b.Tail(t.Context(), o, func(bus.TailMessage) error { return errors.New("told something") })
			if err == nil || err.Error() == "told something" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTailBeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 40)...)
	m, err := b.Get(t.Context(), raw, 40)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "time goes on", func() bool { return time.Since(m.Time) > 20*time.Millisecond })
	since := time.Now()
	publish(t, b, raw, events(raw, 41, 60)...)
	js := newJS(t, bus.Conn(b))
	s, err := js.Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{1, 2, 55, 60} {
		if err := s.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	tailed := func(o bus.TailOptions) []string {
		o.Stream = raw
		var got []string
		if err := b.Tail(t.Context(), o, func(m bus.TailMessage) error {
			got = append(got, m.Header[schemas.HeaderMsgID][0])
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	rest := append(ids(41, 54), ids(56, 59)...)
	for name, c := range map[string]struct {
		o    bus.TailOptions
		want []string
	}{
		"since":                      {bus.TailOptions{Since: since}, rest},
		"last":                       {bus.TailOptions{Last: 5}, []string{"e54", "e56", "e57", "e58", "e59"}},
		"last since":                 {bus.TailOptions{Since: since, Last: 3}, ids(57, 59)},
		"last, more than since then": {bus.TailOptions{Since: since, Last: 30}, rest},
		"last, as many as there are": {bus.TailOptions{Last: 56}, append(ids(3, 40), rest...)},
		"last, all but one":          {bus.TailOptions{Last: 55}, append(ids(4, 40), rest...)},
		"last, more than there are":  {bus.TailOptions{Last: 1000}, append(ids(3, 40), rest...)},
		"since a time to come":       {bus.TailOptions{Since: time.Now().Add(time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tailed(c.o)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := tailed(bus.TailOptions{Subjects: []string{"postern.raw.nothing"}, Last: 3}); got != nil {
		t.Errorf("the last of nothing: %v", got)
	}
}

func TestTailFollowsOverRestarts(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 30)...)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Tail(ctx, bus.TailOptions{Stream: raw, Last: 10, Follow: true}, func(m bus.TailMessage) error {
			told <- m.Header[schemas.HeaderMsgID][0]
			return nil
		})
	}()
	for _, want := range ids(21, 30) {
		if got := <-told; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	external.Stop()
	external.Start()
	eventually(t, "publish", func() bool {
		_, err := b.Publish(t.Context(), raw, events(raw, 31, 50))
		return err == nil
	})
	for _, want := range ids(31, 50) {
		if got := <-told; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestTailLeavesNoConsumerBehind(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 100)...)
	stored(t, b, raw)
	_ = tails(t, b, bus.TailOptions{Stream: raw, Last: 7})
	f := follow(t, b, raw, 0)
	eventually(t, "told", func() bool { return f.reached(100) })
	f.end(t)
	s, err := newJS(t, bus.Conn(b)).Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}
