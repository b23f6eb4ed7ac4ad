package handlerstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// thorough reports whether a test may take its time.
func thorough() bool { return os.Getenv("LONG_TESTS") != "" }

// world is a source that polls a stage, in a time of its own. Everything that
// it tells is looked at.
type world struct {
	*testing.T
	c     PollerCase
	stage Stage
	gate  *gate
	watch *Watch
	means handlers.Means
	ear   *canaries.Ear

	bootstrap bool // what is told was there before
	scrambled bool // answers say anything, so that anything may be told

	events     []schemas.Event              // all that was told
	deliveries map[string]handlers.Delivery // by id
	drift      []schemas.Drift
}

// within runs a test in a world.
func within(t *testing.T, c PollerCase, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 4, 14, 10, 0, 0, 0, time.UTC)))
		w := &world{T: t, c: c, stage: c.Stage(t), deliveries: map[string]handlers.Delivery{}}
		w.ear = canaries.NewEar(slices.Concat(planted, w.stage.Personal))
		w.gate = &gate{stage: w.stage, secrets: map[string]bool{}}
		for _, s := range secretsIn(w.stage.Settings) {
			w.gate.secrets[s.Value()] = true
		}
		client := Serve(t, w.gate)
		client.Transport = agent{client.Transport}
		w.means = handlers.Means{Client: client, Pseudonym: Pseudonym}
		p := c.Platform
		p.Normalize = w.normalize
		w.watch = NewWatch(t, p, w.stage.Settings, client)
		test(w)
		w.end()
	})
}

// agent says who asks, as the receiver's client does.
type agent struct{ next http.RoundTripper }

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "postern/test")
	return a.next.RoundTrip(r)
}

// normalize translates a delivery, and notes it. A fact that means nothing goes
// to quarantine, which is fine where answers mean nothing.
func (w *world) normalize(d handlers.Delivery) (handlers.Output, error) {
	out, err := w.c.Platform.Normalize(d)
	var unusable *handlers.UnusableError
	if w.scrambled && !d.Changes && errors.As(err, &unusable) && !heard(err.Error()) {
		err = nil
	}
	if _, again := w.deliveries[d.ID]; !again { // a watch translates twice, to compare
		kept := d
		kept.Payload = bytes.Clone(d.Payload)
		w.deliveries[d.ID] = kept
		w.drift = append(w.drift, out.Drift...)
	}
	return out, err
}

// pass lets time pass, for everybody.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	w.watch.Advance(time.Since(w.watch.Now()))
}

// restart goes on with a source that was opened again: it knows what is on the
// bus, and nothing else.
func (w *world) restart() {
	w.Helper()
	source, err := w.c.Platform.Open(w.c.Platform.Name, w.stage.Settings, w.means)
	if err != nil {
		w.Fatal(err)
	}
	w.watch.source = source
	w.watch.Restart()
}

// expire ends all tokens.
func (w *world) expire() {
	if w.stage.Expire != nil {
		w.stage.Expire()
	}
}

// round scans after the usual time, and returns what was told.
func (w *world) round() []schemas.Type {
	w.Helper()
	every := w.stage.Every
	if every == 0 {
		every = time.Minute
	}
	return w.roundAfter(every)
}

func (w *world) roundAfter(d time.Duration) []schemas.Type {
	w.Helper()
	w.pass(d)
	var told []schemas.Type
	for _, e := range w.watch.Round() {
		w.events = append(w.events, e)
		told = append(told, e.Type)
		w.examine(e)
	}
	if err := w.watch.Err(); err != nil {
		w.scrubbed(err)
	}
	return told
}

// start makes the first scan.
func (w *world) start() {
	w.Helper()
	w.tells(w.stage.First)
}

// tells scans once, without an error, and checks what was told.
func (w *world) tells(want []schemas.Type) {
	w.Helper()
	w.same(w.round(), want)
	w.succeeded()
}

// tellsOf scans as often as a happening takes.
func (w *world) tellsOf(h Happening) {
	w.Helper()
	var told []schemas.Type
	for range h.scans() {
		told = append(told, w.round()...)
		w.succeeded()
	}
	w.same(told, h.Tells)
}

// quiet checks that nothing is told in some rounds.
func (w *world) quiet(rounds int) {
	w.Helper()
	for range rounds {
		w.tells(nil)
	}
}

func (w *world) same(told, want []schemas.Type) {
	w.Helper()
	if sorted(told) != sorted(want) {
		w.Errorf("told %q, want %q", sorted(told), sorted(want))
	}
}

func (w *world) succeeded() {
	w.Helper()
	if err := w.watch.Err(); err != nil {
		w.Errorf("the scan failed: %v", err)
	}
}

// changes reports whether an event is one of a change, and not of a fact.
func (w *world) changes(e schemas.Event) bool { return w.deliveries[e.DeliveryID].Changes }

// polledID is what the ids of the events of changes look like.
var polledID = regexp.MustCompile(`^[a-z0-9-]{1,32}:[a-z]+:(=?[A-Za-z0-9._-]+):[a-z0-9]+\.[1-9][0-9]*:[a-z_]+:[A-Za-z0-9_-]{22}$`)

// examine checks an event that was told.
func (w *world) examine(e schemas.Event) {
	w.Helper()
	if !slices.Contains(w.c.Vocabulary, e.Type) {
		w.Errorf("%s is not in the platform's vocabulary", e.Type)
	}
	if w.changes(e) {
		w.examineChange(e)
	}
	messages, err := e.Messages()
	if err != nil {
		w.Error(err)
	}
	for _, m := range messages {
		text := fmt.Sprintf("%s %s %v %s", m.Subject, m.ID, m.Header, m.Body)
		if w.gate.betrayed(text) {
			w.Errorf("a token or a secret is in %s on %s", m.ID, m.Stream)
		}
		if m.Stream == schemas.StreamRestricted && w.c.Twins {
			m.Body = nil // here it may be
			text = fmt.Sprintf("%s %s %v", m.Subject, m.ID, m.Header)
		}
		w.listen(e.ID+" on "+string(m.Stream), text)
	}
}

// examineChange checks what only events of changes have.
func (w *world) examineChange(e schemas.Event) {
	w.Helper()
	c, err := handlers.DecodeChange(w.deliveries[e.DeliveryID].Payload)
	if err != nil {
		w.Fatal(err)
	}
	if key := polledID.FindStringSubmatch(e.ID); key == nil || key[1] != schemas.IDPart(e.Key) {
		w.Errorf("the id %s is not one of a change of %s", e.ID, e.Key)
	}
	b, err := json.Marshal(e.Data)
	var data struct {
		Revision  uint64 `json:"revision"`
		Bootstrap bool   `json:"bootstrap"`
	}
	if err := errors.Join(err, json.Unmarshal(b, &data)); err != nil {
		w.Error(err)
	}
	if data.Revision != c.Current.Revision || e.Sequence != fmt.Sprintf("%016d", data.Revision) {
		w.Errorf("%s says the revision %d and the sequence %s, want %d", e.ID, data.Revision, e.Sequence, c.Current.Revision)
	}
	if data.Bootstrap != c.Bootstrap || w.bootstrap && !data.Bootstrap {
		w.Errorf("%s says bootstrap %t", e.ID, data.Bootstrap)
	}
}

// listen checks that nothing personal is in what everybody may read.
func (w *world) listen(what, text string) {
	w.Helper()
	if w.scrambled {
		return
	}
	if heard := w.ear.Hear([]byte(text)); len(heard) > 0 {
		w.Errorf("%s: heard %v", what, heard[0])
	}
}

// scrubbed checks that an error is one of those that receivers understand, and
// says nothing that was asked or answered.
func (w *world) scrubbed(err error) {
	w.Helper()
	if many, ok := err.(interface{ Unwrap() []error }); ok { // of a round of several pollers
		for _, each := range many.Unwrap() {
			w.scrubbed(each)
		}
		return
	}
	var auth *handlers.AuthError
	var upstream *handlers.UpstreamError
	if !errors.As(err, &auth) && !errors.As(err, &upstream) && !errors.Is(err, handlers.ErrIncomplete) &&
		!errors.Is(err, handlers.ErrMoved) && !errors.Is(err, handlers.ErrNotJSON) && !errors.Is(err, context.DeadlineExceeded) {
		w.Errorf("got %T: %v, which nobody understands", err, err)
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if w.gate.betrayed(text) {
		w.Errorf("a token or a secret is in an error: %v", err)
	}
	if heard := w.ear.Hear([]byte(text)); len(heard) > 0 {
		w.Errorf("heard %v in an error: %v", heard[0], err)
	}
	if strings.Contains(err.Error(), "://") {
		w.Errorf("a URL is in an error: %v", err)
	}
}

// end looks at what is left when all is told.
func (w *world) end() {
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors} {
		for key := range w.watch.bus.Entries(bucket) {
			w.listen("the key of an entry", key)
		}
	}
	stored := string(w.watch.Stored())
	kept := []string{stored}
	for _, d := range w.deliveries {
		kept = append(kept, string(d.Payload))
	}
	for _, text := range kept {
		if w.gate.betrayed(text) {
			w.Error("a token or a secret is kept")
		}
		if !w.c.Twins {
			w.listen("what is kept", text)
		}
	}
	for _, d := range w.drift {
		text := d.Path
		if d.Value != nil {
			text += " " + *d.Value
		}
		w.listen("drift", text)
		if d.Platform != w.c.Platform.Name {
			w.Errorf("drift at %s is of %q", d.Path, d.Platform)
		}
	}
}
