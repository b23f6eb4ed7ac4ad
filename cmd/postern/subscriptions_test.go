package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

// hearer hears a stream that a test makes up.
type hearer struct {
	*subscriptions
	t   *testing.T
	now time.Time
	seq uint64
}

// newHearer hears of a source with these topics.
func newHearer(t *testing.T, topics ...string) *hearer {
	t.Helper()
	push := &handlers.Push{Topics: topics, Signature: "pinned"}
	cfg := &Config{Sources: []*Source{{Name: "corastone", Platform: handlers.Platform{Name: "corastone"}, Opened: handlers.Source{Push: push}}}}
	a := &app{cfg: cfg, registry: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler)}
	a.now.Store(cfg)
	h := &hearer{subscriptions: newSubscriptions(a), t: t, now: time.Date(2026, 4, 14, 10, 20, 30, 0, time.UTC)}
	h.ready = true
	return h
}

// tell has it hear an event as it is published: of what, topic and number.
func (h *hearer) tell(typ schemas.Type, topic string, n int) {
	h.t.Helper()
	fact := fmt.Sprintf("corastone:platform:%s:m-%d:", topic, n)
	deadline := schemas.FormatTime(h.now.Add(48 * time.Hour))
	e := schemas.Event{
		ID: fact + typ.Event(), Source: "corastone", Type: typ, Key: topic, Time: schemas.FormatTime(h.now), Recorded: h.now,
		DeliveryID: fmt.Sprint("d-", n), Channel: schemas.ChannelPush,
		Data: schemas.Subscription{Platform: "corastone", Topic: topic, Deadline: &deadline},
	}
	if typ == schemas.PlatformPushConfirmed {
		e.DeliveryID, e.Channel, e.CausationID = "", "", fact+schemas.PlatformConfirmationRequested.Event()
	}
	msgs, err := messagesOf(e)
	if err != nil {
		h.t.Fatal(err)
	}
	h.seq++
	h.hear(bus.TailMessage{Seq: h.seq, Subject: msgs[0].Subject, Time: h.now, Header: msgs[0].Header, Data: msgs[0].Body})
}

// state is what waits, by its delivery, and what ended.
func (h *hearer) state() string {
	h.t.Helper()
	waiting, ended, _ := h.of("corastone")
	var parts []string
	for _, w := range waiting {
		parts = append(parts, w.topic+" waits for "+w.delivery)
	}
	for _, e := range endedOf(ended) {
		parts = append(parts, e.Topic+" ended")
	}
	return strings.Join(parts, ", ")
}

const (
	requested     = schemas.PlatformConfirmationRequested
	pushConfirmed = schemas.PlatformPushConfirmed
	pushEnded     = schemas.PlatformPushEnded
)

func TestWhatWaitsFollowsFromTheStream(t *testing.T) {
	type said struct {
		typ   schemas.Type
		topic string
		n     int
	}
	for name, c := range map[string]struct {
		told []said
		want string
	}{
		"nothing":               {nil, ""},
		"asked":                 {[]said{{requested, "a", 1}}, "a waits for d-1"},
		"confirmed":             {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}}, ""},
		"told twice":            {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}, {requested, "a", 1}}, ""},
		"confirmed twice":       {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}, {pushConfirmed, "a", 1}}, ""},
		"asked again":           {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}, {requested, "a", 2}}, "a waits for d-2"},
		"the last one counts":   {[]said{{requested, "a", 1}, {requested, "a", 2}}, "a waits for d-2"},
		"an earlier one":        {[]said{{requested, "a", 1}, {requested, "a", 2}, {pushConfirmed, "a", 1}}, "a waits for d-2"},
		"both":                  {[]said{{requested, "a", 1}, {requested, "a", 2}, {pushConfirmed, "a", 1}, {pushConfirmed, "a", 2}}, ""},
		"other topics":          {[]said{{requested, "b", 1}, {requested, "a", 2}, {pushConfirmed, "b", 1}}, "a waits for d-2"},
		"ended":                 {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}, {pushEnded, "a", 3}}, "a ended"},
		"ended and asked":       {[]said{{pushEnded, "a", 3}, {requested, "a", 4}}, "a waits for d-4, a ended"},
		"ended and confirmed":   {[]said{{pushEnded, "a", 3}, {requested, "a", 4}, {pushConfirmed, "a", 4}}, ""},
		"another topic ended":   {[]said{{pushEnded, "b", 3}, {requested, "a", 4}, {pushConfirmed, "a", 4}}, "b ended"},
		"confirmed, then ended": {[]said{{requested, "a", 1}, {pushConfirmed, "a", 1}, {pushEnded, "a", 2}, {requested, "a", 1}}, "a ended"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHearer(t, "a")
			for _, s := range c.told {
				h.tell(s.typ, s.topic, s.n)
			}
			if diff := cmp.Diff(c.want, h.state()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatNobodyNeedsToKnowIsForgotten, and nothing else.
func TestWhatNobodyNeedsToKnowIsForgotten(t *testing.T) {
	const (
		ended = "ended"
		waits = "waits"
		day   = 24 * time.Hour
	)
	for name, c := range map[string]struct {
		what    string
		topics  []string
		pushed  time.Duration // after it was told; 0: never
		later   time.Duration // when that is
		forgets bool
	}{
		"a push soon after the end":       {ended, []string{"a"}, 59 * time.Minute, day, false},
		"a push later":                    {ended, []string{"a"}, 61 * time.Minute, day, true},
		"a push maybe of another topic":   {ended, []string{"a", "b"}, 61 * time.Minute, day, false},
		"no push":                         {ended, []string{"a"}, 0, 80 * day, false},
		"a push while it waits":           {waits, []string{"a"}, day, day + time.Hour, false},
		"a push before it lapsed":         {waits, []string{"a"}, day, 3 * day, false},
		"a push after it lapsed":          {waits, []string{"a"}, 50 * time.Hour, 3 * day, true},
		"it lapsed":                       {waits, []string{"a"}, 0, 8 * day, false},
		"it lapsed more than a week ago":  {waits, []string{"a"}, 0, 10 * day, true},
		"it waits of a topic among other": {waits, []string{"a", "b"}, 0, 10 * day, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHearer(t, c.topics...)
			typ := map[string]schemas.Type{ended: pushEnded, waits: requested}[c.what]
			h.tell(typ, "a", 1)
			h.forget(h.now.Add(c.later), func(source string) time.Time {
				if c.pushed == 0 || source != "corastone" {
					return time.Time{}
				}
				return h.now.Add(c.pushed)
			})
			if forgotten := h.state() == ""; forgotten != c.forgets {
				t.Errorf("forgotten %v: %q", forgotten, h.state())
			}
		})
	}
}

func TestWhatIsNoSubscriptionIsNotHeard(t *testing.T) {
	h := newHearer(t, "a")
	for _, body := range []string{"", "{", "[]", `{"type":"postern.platform.push_ended.v1"}`, `{"type":"postern.platform.push_ended.v1","data":{"topic":""}}`, `{"type":"x","data":{"topic":"a"}}`} {
		h.hear(bus.TailMessage{Seq: 1, Subject: "postern.ops.corastone.push_ended", Data: []byte(body)})
	}
	if h.state() != "" {
		t.Error(h.state())
	}
}

func TestMetricsTellWhatWaitsAndWhatEnded(t *testing.T) {
	h := newHearer(t, "a", "b")
	want := func(name string, at time.Time) {
		t.Helper()
		if v, ok := h.app.gathered().value(name, "corastone"); !ok || v != seconds(at) {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, seconds(at))
		}
	}
	const deadline, end = "postern_push_confirmation_deadline_timestamp_seconds", "postern_push_ended_timestamp_seconds"
	want(deadline, time.Time{})
	want(end, time.Time{})
	first := h.now
	h.tell(requested, "a", 1)
	h.tell(pushEnded, "b", 2)
	h.now = h.now.Add(time.Hour)
	h.tell(requested, "b", 3)
	h.tell(pushEnded, "a", 4)
	want(deadline, first.Add(48*time.Hour))
	want(end, first)
	h.ready = false
	if _, ok := h.app.gathered().value(end, "corastone"); ok {
		t.Error("something is told while it is not known")
	}
}

// TestTriesComeSlower, and never after less than they should.
func TestTriesComeSlower(t *testing.T) {
	last := time.Duration(0)
	for tries := 1; tries <= 100; tries++ {
		wait := retryAfter(tries)
		if tries < 9 && wait <= last || wait < firstRetry || wait > lastRetry*5/4 {
			t.Errorf("after %d tries: %s, and %s before", tries, wait, last)
		}
		last = wait
	}
	if last < lastRetry {
		t.Errorf("in the end: %s", last)
	}
}

func TestConcernsSayWhatToDo(t *testing.T) {
	at := time.Date(2026, 4, 16, 10, 20, 30, 0, time.UTC)
	source := func(unasked bool, w ops.WaitingConfirmation) []ops.Source {
		w.Topic, w.Deadline = "north", at
		return []ops.Source{{Name: "fund"}, {Name: "corastone", Push: &ops.SourcePush{ConfirmSubscriptions: unasked, Waiting: []ops.WaitingConfirmation{w}}}}
	}
	for name, c := range map[string]struct {
		sources    []ops.Source
		text, todo string
	}{
		"an operator is asked": {source(false, ops.WaitingConfirmation{}), "waits to be confirmed, until 2026-04-16T10:20:30.000Z", "postern sources confirm corastone"},
		"and it failed":        {source(false, ops.WaitingConfirmation{Failure: "no way"}), "(no way)", "postern sources confirm corastone"},
		"nobody is asked":      {source(true, ops.WaitingConfirmation{}), "", ""},
		"nobody, and it fails": {source(true, ops.WaitingConfirmation{Failure: "no way"}), "is not confirmed yet, until 2026-04-16T10:20:30.000Z (no way)", "outbound"},
		"it lapsed":            {source(true, ops.WaitingConfirmation{Lapsed: true}), "was not confirmed until 2026-04-16T10:20:30.000Z", "subscribe again"},
	} {
		list := concerns(c.sources)
		if c.text == "" {
			if len(list) != 0 {
				t.Errorf("%s: %+v", name, list)
			}
			continue
		}
		if len(list) != 1 || list[0].source != "corastone" || !strings.Contains(list[0].text, c.text) || !strings.Contains(list[0].todo, c.todo) || list[0].dead {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// TestWhatIsToldIsNotConfirmedAgain: a receiver that has not heard of it yet,
// and gets the lease, finds it on the stream.
func TestWhatIsToldIsNotConfirmedAgain(t *testing.T) {
	o := newOutside(t)
	h := house(t, o.confirming(t, false)).run()
	<-h.app.subscriptions.caughtUp
	h.asks(nodeOf(t, 49), nil)
	var waiting []confirmation
	eventually(t, "it waits", func() bool {
		waiting, _, _ = h.app.subscriptions.of("corastone")
		return len(waiting) == 1
	})
	b, src := h.app.bus.Load(), h.app.now.Load().Sources[0]
	for i, want := range []bool{true, false, false} {
		if done, err := h.app.subscriptions.confirmOnce(t.Context(), b, src, waiting[0]); err != nil || done != want {
			t.Errorf("try %d: confirmed %v, want %v: %v", i, done, want, err)
		}
	}
	if n := len(o.sns.Asked()); n != 1 {
		t.Errorf("SNS was asked %d times", n)
	}
	eventually(t, "it waits no more", func() bool {
		waiting, _, _ = h.app.subscriptions.of("corastone")
		return len(waiting) == 0
	})

	// While another receiver has the lease nothing is done.
	h.asks(nodeOf(t, 50), nil)
	eventually(t, "another waits", func() bool {
		waiting, _, _ = h.app.subscriptions.of("corastone")
		return len(waiting) == 1
	})
	held, err := b.Hold(t.Context(), "confirm."+schemas.Token(waiting[0].event), "another", func(ctx context.Context) error {
		result, done := h.app.subscriptions.confirm(ctx, b, src, waiting[0])
		if done || result.Outcome != ops.OutcomeBusy {
			t.Errorf("confirmed %v: %+v", done, result)
		}
		return nil
	})
	if err != nil || !held {
		t.Fatal(held, err)
	}
	if n := len(o.sns.Asked()); n != 1 {
		t.Errorf("SNS was asked %d times", n)
	}

	// What is no longer there can't be confirmed, and is not tried again.
	gone := waiting[0]
	gone.delivery = "another"
	if _, err := h.app.subscriptions.confirmOnce(t.Context(), b, src, gone); !isFinal(err) {
		t.Errorf("without its delivery: %v", err)
	}
}
