package poll

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// How a source is followed up.
const (
	answersAtOnce = 8
	answerTimeout = 2 * time.Minute
	followAckWait = 30 * time.Second
	followPutOff  = 100_000
	ownDelay      = 2 * time.Second // after failures of ours
	// restDelay is how long an event is put off at most because the platform
	// wants to rest: that may hold no more before.
	restDelay = 5 * time.Minute
)

// askAgain is how long a follow-up waits after each try that failed; the last
// one is for all that come after.
var askAgain = [...]time.Duration{
	5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
}

// following follows up the events of one source.
type following struct {
	cfg      *Config
	source   string
	platform string
	types    []schemas.Type
	since    time.Time
	spec     atomic.Pointer[handlers.FollowUp]
	stop     context.CancelFunc

	shared   shared // only when the platform wants to rest
	slots    chan struct{}
	waiting  *waiting
	answered sync.WaitGroup
}

func newFollowing(cfg *Config, src handlers.Source, since time.Time) *following {
	f := &following{
		cfg: cfg, source: src.Name, platform: src.Platform, types: src.FollowUp.Types, since: since,
		stop: func() {}, slots: make(chan struct{}, answersAtOnce), waiting: newWaiting(),
	}
	f.spec.Store(src.FollowUp)
	f.shared.open(src.FollowUp)
	return f
}

// run follows up until ctx ends.
func (f *following) run(ctx context.Context, consume Consume) {
	subjects := make([]string, len(f.types))
	for i, t := range f.types {
		subjects[i] = strings.Join([]string{schemas.StreamEvents.Prefix(), f.source, t.Entity(), t.Event(), "*"}, ".")
	}
	asked := schemas.StreamOps.Prefix() + "." + f.source + "." + schemas.PlatformFollowUpRequested.Event()
	var consuming sync.WaitGroup
	for stream, subjects := range map[schemas.Stream][]string{schemas.StreamEvents: subjects, schemas.StreamOps: {asked}} {
		consuming.Go(func() {
			err := consume(ctx, Consumption{
				Stream: stream, Durable: "follow-up-" + f.source, Subjects: subjects, Since: f.since,
				// One at a time: what is fetched ahead waits without a word.
				MaxPending: 1, MaxPutOff: followPutOff, AckWait: followAckWait,
			}, func(m Message) { f.take(ctx, stream, m) })
			if ctx.Err() == nil {
				f.cfg.Log.Error("events can't be followed up", "source", f.source, "stream", string(stream), "error", err)
			}
		})
	}
	consuming.Wait()
	f.answered.Wait()
}

// work is an event that is followed up.
type work struct {
	Message
	place place
	id    string // of the message
	event handlers.ToldEvent
	since time.Time // when waiting for an answer began
}

// take has a message worked at. It waits while enough others are.
func (f *following) take(ctx context.Context, stream schemas.Stream, m Message) {
	w := &work{Message: m, place: place{stream, m.Seq}}
	if err := w.read(stream); err != nil {
		f.cfg.Log.Error("an event can't be followed up", "source", f.source, "stream", string(stream), "seq", m.Seq, "error", err)
	}
	if channel := m.Header[schemas.HeaderChannel]; w.id == "" || len(channel) > 0 && channel[0] == string(schemas.ChannelReplay) {
		f.done(ctx, w) // a replayed one was followed up when it was new
		return
	}
	if !f.waiting.begin(w.place, w.since) {
		return // it took long, and is still worked at
	}
	rest := f.keep(w)
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		rest()
		f.later(w, 0)
		return
	}
	f.answered.Go(func() {
		defer func() { <-f.slots }()
		f.handle(ctx, w, rest)
	})
}

var errUnreadable = errors.New("it is not as it was published")

// read reads the event, or the request for another that an operator made.
func (w *work) read(stream schemas.Stream) error {
	var body struct {
		ID       string         `json:"id"`
		Type     string         `json:"type"`
		Subject  string         `json:"subject"`
		Time     string         `json:"time"`
		Recorded time.Time      `json:"recordedtime"`
		Data     jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(w.Data, &body); err != nil || body.ID == "" {
		return errUnreadable // the library's errors quote values
	}
	if stream == schemas.StreamOps {
		var asked schemas.FollowUpRequest
		if err := json.Unmarshal(body.Data, &asked); err != nil {
			return errUnreadable
		}
		w.event = handlers.ToldEvent{ID: asked.Event, Type: asked.EventType, Key: asked.EventKey, Time: asked.EventTime, Data: asked.EventData}
	} else {
		_, key, _ := strings.Cut(body.Subject, "/")
		t := schemas.Type(strings.TrimSuffix(strings.TrimPrefix(body.Type, "postern."), ".v1"))
		w.event = handlers.ToldEvent{ID: body.ID, Type: t, Key: key, Time: body.Time, Data: body.Data}
	}
	w.id, w.since = body.ID, body.Recorded
	return nil
}

// handle follows an event up, and says what is to become of its message. Before
// that it calls rest.
func (f *following) handle(ctx context.Context, w *work, rest func()) {
	if wait := f.shared.resting().Sub(f.cfg.now()); wait > 0 {
		rest()
		f.later(w, min(wait, restDelay)+jittered(ownDelay))
		return
	}
	how, err := f.follow(ctx, w)
	rest()
	f.cfg.Metrics.follow.counted(f.source, how)
	switch how {
	case resultSuccess, resultGivenUp:
		f.done(ctx, w)
	case resultCanceled:
		f.later(w, 0)
	default:
		wait := f.delay(w, how, err)
		f.cfg.Log.Debug("a follow-up has no answer yet", "source", f.source, "event", w.event.ID, "error", err,
			"attempt", w.Deliveries, "retry_in", wait.Round(time.Second))
		f.later(w, wait)
	}
}

// keep says that a message is worked at until the function is called that it
// returns.
func (f *following) keep(w *work) func() {
	end := make(chan struct{})
	var keeping sync.WaitGroup
	keeping.Go(func() {
		tick := time.NewTicker(followAckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = w.Working() // else it is delivered again, which is harmless
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		keeping.Wait()
	}
}

func (f *following) done(ctx context.Context, w *work) {
	if err := w.Done(ctx); err != nil { // it is delivered again, and told once
		f.cfg.Log.Debug("the bus doesn't know yet that a follow-up is done", "source", f.source, "event", w.event.ID, "error", err)
	}
	f.waiting.end(w.place)
}

func (f *following) later(w *work, delay time.Duration) {
	if err := w.Later(delay); err != nil { // it is delivered again earlier
		f.cfg.Log.Debug("the bus doesn't know yet that a follow-up waits", "source", f.source, "event", w.event.ID, "error", err)
	}
	f.waiting.putOff(w.place, time.Now().Add(delay+2*followAckWait))
}

// follow asks what an event means, and tells it. It returns when all of that is
// on the bus.
func (f *following) follow(ctx context.Context, w *work) (how string, err error) {
	spec := f.spec.Load()
	// One that nobody has looked at while we were away is tried twice.
	last := spec.GiveUpAfter > 0 && f.cfg.now().Sub(w.since) >= spec.GiveUpAfter && w.Deliveries > 1
	s, err := newInquiry(ctx, f, w.event.ID)
	if err != nil {
		return waitingOr(ctx), err
	}
	failure := f.ask(ctx, spec, w, s, last)
	var auth *handlers.AuthError
	switch {
	case ctx.Err() != nil:
		return resultCanceled, context.Cause(ctx)
	case failure != nil && !last && errors.As(failure, &auth):
		return resultAuth, failure
	case failure != nil && !last:
		return resultFailed, failure
	}
	if err := s.settle(ctx); err != nil {
		return waitingOr(ctx), err
	}
	if failure == nil {
		return resultSuccess, nil
	}
	if err := f.giveUp(ctx, w); err != nil {
		return waitingOr(ctx), err
	}
	f.cfg.Log.Warn("an event was not followed up in time, and is in quarantine", "source", f.source, "event", w.event.ID, "error", failure)
	return resultGivenUp, nil
}

func waitingOr(ctx context.Context) string {
	if ctx.Err() != nil {
		return resultCanceled
	}
	return resultWaiting
}

// ask has the platform asked.
func (f *following) ask(ctx context.Context, spec *handlers.FollowUp, w *work, s *inquiry, last bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			// What it panicked with may be a value.
			f.cfg.Log.Error("a follow-up panicked", "source", f.source, "event", w.event.ID,
				"reason", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return spec.Answer(ctx, w.event, s, last)
}

// giveUp has an event put into quarantine, and returns when it is there.
func (f *following) giveUp(ctx context.Context, w *work) error {
	payload, err := json.Marshal(w.event, json.Deterministic(true))
	if err != nil {
		return errUnreadable
	}
	if err := f.poller(0).appendGivenUp(ctx, w.id, payload); err != nil {
		return err
	}
	return own(f.cfg.Relay.Drain(ctx))
}

// delay returns when to ask again: later each time, however often it was
// delivered for reasons of ours, and whenever it was told.
func (f *following) delay(w *work, how string, err error) time.Duration {
	if how == resultWaiting {
		return between(ownDelay)
	}
	now := f.cfg.now()
	age := max(now.Sub(w.since), 0)
	step, sum := 0, askAgain[0]
	for step < len(askAgain)-1 && age+age/4 >= sum {
		step++
		sum += askAgain[step]
	}
	wait := between(askAgain[min(step, max(w.Deliveries, 1)-1)])
	if giveUp := f.spec.Load().GiveUpAfter; giveUp > age {
		wait = min(wait, giveUp-age+100*time.Millisecond)
	}
	var auth *handlers.AuthError
	if errors.As(err, &auth) {
		wait = max(wait, auth.Until.Sub(now)+jittered(ownDelay))
	}
	if after := retryAfter(err); after > 0 {
		f.shared.rest(now.Add(after))
		wait = max(wait, min(after, restDelay)+jittered(ownDelay))
	}
	return wait
}
