// Package handlerstest holds the promises that every platform must keep, as
// one test suite. A platform that pushes calls [Webhook] with a folder of what
// it said; one that is polled calls [Poller] with a stand-in and what can happen
// there. [Watch] is for what a platform promises beyond that.
package handlerstest

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Case is what the suite needs to know of a platform that pushes.
type Case struct {
	Platform handlers.Platform
	// Settings opens a source that believes what Push makes. The source has
	// the platform's name.
	Settings any
	// Means are what the source may use; by default nothing.
	Means handlers.Means
	// Dir is a folder of recordings, *.json: each is one thing that the
	// platform said, usable or not. Beside it, .golden says what it becomes;
	// the flag -update writes that.
	Dir string
	// Push returns an authentic push of what was recorded. Apart from its
	// signature it is the same every time, and so is its time of arrival.
	Push func(t *testing.T, recorded []byte) handlers.Request
	// Payload returns the body of such a push for those who don't look at its
	// signature: signing all that the suite makes up would take long.
	Payload func(recorded []byte) []byte
	// Required names the headers without which a push is refused.
	Required []string
	// Unsigned says that nothing vouches for the body: whoever has the
	// required headers is believed, whatever it says.
	Unsigned bool
}

// Webhook tests all promises on all recordings.
func Webhook(t *testing.T, c Case) {
	source, err := c.Platform.Open(c.Platform.Name, c.Settings, c.Means)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if source.Push == nil || source.Push.Webhook == nil || len(source.Push.Allow) == 0 {
		t.Fatal("source does not push, or lets nobody call")
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", c.Dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			recorded, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &suite{Case: c, webhook: source.Push.Webhook, recorded: recorded}
			s.run(t, strings.TrimSuffix(file, ".json")+".golden")
		})
	}
}

// suite tests the promises on one recording.
type suite struct {
	Case
	webhook  handlers.Webhook
	recorded []byte
}

func (s *suite) run(t *testing.T, golden string) {
	r := s.Push(t, s.recorded)
	a, err := s.webhook.Authenticate(clone(r))
	if err != nil {
		t.Fatalf("authentic push: %v", err)
	}
	if a.Role == "" || a.TransportID == "" || a.Content == [32]byte{} || a.Stale {
		t.Fatalf("authentic push lacks a role, a transport id or a content, or is stale: %+v", a)
	}
	t.Run("golden", func(t *testing.T) { s.golden(t, s.delivery(r, a), golden) })
	t.Run("request is left alone", func(t *testing.T) { s.leavesAlone(t, r, a) })
	t.Run("flipped bit", func(t *testing.T) { s.flippedBit(t, r, a) })
	t.Run("missing header", func(t *testing.T) { s.missingHeader(t, r, a) })
	t.Run("normalize is pure", func(t *testing.T) { s.pure(t, s.delivery(r, a)) })
	t.Run("events are well-formed", func(t *testing.T) { s.wellFormed(t, s.delivery(r, a)) })
	t.Run("truncated", func(t *testing.T) { s.truncated(t, r, s.delivery(r, a)) })
	t.Run("canary", func(t *testing.T) { s.canary(t, s.delivery(r, a)) })
}

// delivery returns the delivery that a push would become, with a payload of its
// own.
func (s *suite) delivery(r handlers.Request, a handlers.Authentic) handlers.Delivery {
	return handlers.Delivery{
		ID: "delivery-1", Source: s.Platform.Name, Platform: s.Platform.Name,
		Channel: schemas.ChannelPush, Role: a.Role,
		Received: r.Received, Sent: a.Sent, Payload: bytes.Clone(r.Body),
	}
}

// leavesAlone: Authenticate neither changes the request nor keeps any of it.
func (s *suite) leavesAlone(t *testing.T, r handlers.Request, want handlers.Authentic) {
	given := clone(r)
	got, err := s.webhook.Authenticate(given)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, given); diff != "" {
		t.Errorf("request was changed (-before +after):\n%s", diff)
	}
	clear(given.Body)
	for _, values := range given.Header {
		clear(values)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was returned changed with the request, or differs the second time:\n%s", diff)
	}
}

// flippedBit: whoever changes a bit of the body is refused, or changed nothing
// that is vouched for or that an event is made of. Where nothing vouches for
// the body, what says something else has another content.
func (s *suite) flippedBit(t *testing.T, r handlers.Request, want handlers.Authentic) {
	told := s.told(s.delivery(r, want))
	refused := 0
	for i := 0; i < len(r.Body); i += 1 + len(r.Body)/67 {
		flipped := clone(r)
		flipped.Body[i] ^= 1 << (i % 7) // not the eighth, which would only test UTF-8
		got, err := s.webhook.Authenticate(flipped)
		if err != nil {
			refused++
			s.checkRefusal(t, err)
			continue
		}
		if s.Unsigned && got.Content != want.Content {
			s.usable(t, s.delivery(flipped, got))
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("byte %d: accepted as something else:\n%s", i, diff)
		}
		if diff := cmp.Diff(told, s.told(s.delivery(flipped, got))); diff != "" {
			t.Errorf("byte %d: accepted, and becomes something else:\n%s", i, diff)
		}
	}
	if refused == 0 && !s.Unsigned {
		t.Error("nothing was ever refused")
	}
}

// usable: what was accepted becomes events, or an error that says why not.
func (s *suite) usable(t *testing.T, d handlers.Delivery) {
	t.Helper()
	out, err := s.Platform.Normalize(d)
	var unusable *handlers.UnusableError
	if !errors.As(err, &unusable) && (err != nil || len(out.Events) == 0) {
		t.Errorf("got %d events and %T: %v, want events or an *UnusableError", len(out.Events), err, err)
	}
}

// missingHeader: a push without a required header is refused, and without
// another one it is the same.
func (s *suite) missingHeader(t *testing.T, r handlers.Request, want handlers.Authentic) {
	required := map[string]bool{}
	for _, name := range s.Required {
		required[http.CanonicalHeaderKey(name)] = true
	}
	for name := range r.Header {
		without := clone(r)
		without.Header.Del(name)
		got, err := s.webhook.Authenticate(without)
		var refused *handlers.RefusedError
		switch {
		case required[name] && !errors.As(err, &refused):
			t.Errorf("without %s: not refused, %v", name, err)
		case !required[name] && err != nil:
			t.Errorf("without %s: %v", name, err)
		case !required[name] && got != want:
			t.Errorf("without %s it is another push", name)
		}
	}
}

// truncated: a body that breaks off is refused, a payload that breaks off is
// unusable, and nothing panics. Where nothing vouches for the body, one that
// breaks off may be accepted, and is unusable then.
func (s *suite) truncated(t *testing.T, r handlers.Request, d handlers.Delivery) {
	whole := bytes.TrimSpace(d.Payload)
	for n := 0; n < len(whole); n += 1 + len(whole)/79 {
		d.Payload = bytes.Clone(whole[:n])
		out, err := s.Platform.Normalize(d)
		var unusable *handlers.UnusableError
		if !errors.As(err, &unusable) {
			t.Errorf("payload of %d bytes: got %d events and the error %v", n, len(out.Events), err)
		} else {
			s.checkText(t, err)
		}
		short := clone(r)
		short.Body = bytes.Clone(whole[:n])
		switch a, err := s.webhook.Authenticate(short); {
		case err != nil:
			s.checkRefusal(t, err)
		case !s.Unsigned:
			t.Errorf("body of %d bytes was accepted", n)
		default:
			out, err := s.Platform.Normalize(s.delivery(short, a))
			if !errors.As(err, &unusable) {
				t.Errorf("body of %d bytes was accepted and became %d events, with the error %v", n, len(out.Events), err)
			}
		}
	}
}

// checkRefusal: errors of Authenticate choose a status, and hold nothing of
// the push.
func (s *suite) checkRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *handlers.RefusedError
	var uncheckable *handlers.UncheckableError
	switch {
	case errors.As(err, &refused):
		switch refused.Reason {
		case handlers.ReasonTopic, handlers.ReasonSignature, handlers.ReasonCertificate, handlers.ReasonHeader:
		default:
			t.Errorf("refused for an unknown reason: %v", err)
		}
	case !errors.As(err, &uncheckable):
		t.Errorf("got %T: %v, want a *RefusedError or an *UncheckableError", err, err)
	}
	s.checkText(t, err)
}

// told returns all that a delivery becomes, for comparing.
func (s *suite) told(d handlers.Delivery) any {
	out, err := s.Platform.Normalize(d)
	if err != nil {
		return err.Error()
	}
	type told struct {
		Messages []schemas.Message
		Drift    []schemas.Drift
		Errors   []string
	}
	all := told{Drift: out.Drift}
	for _, e := range out.Events {
		messages, err := e.Messages()
		if err != nil {
			all.Errors = append(all.Errors, err.Error())
		}
		all.Messages = append(all.Messages, messages...)
	}
	return all
}

// pure: the same delivery gives the same bytes, twice and in parallel, and
// keeps its payload.
func (s *suite) pure(t *testing.T, d handlers.Delivery) {
	payload := bytes.Clone(d.Payload)
	want := s.told(d)
	got := make(chan any, 8)
	for range cap(got) {
		go func() { got <- s.told(d) }()
	}
	for range cap(got) {
		if told := <-got; !reflect.DeepEqual(told, want) {
			t.Errorf("the same delivery becomes something else (-first +later):\n%s", cmp.Diff(want, told))
		}
	}
	if !bytes.Equal(d.Payload, payload) {
		t.Error("Normalize changed the payload")
	}
}

func clone(r handlers.Request) handlers.Request {
	return handlers.Request{Header: r.Header.Clone(), Body: bytes.Clone(r.Body), Received: r.Received}
}
