package handlerstest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// oracle is a platform that pushes ids, and that says later what they mean.
type oracle struct {
	silent bool
	asked  []string
}

// Authenticate implements [handlers.Webhook]: it believes everybody.
func (*oracle) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	return handlers.Authentic{Role: "push", TransportID: r.Header.Get("Id"), Content: sha256.Sum256(r.Body)}, nil
}

func (o *oracle) answer(_ context.Context, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
	o.asked = append(o.asked, e.Key)
	if err := s.Tell(handlers.Fact{Role: "meaning", TransportID: "meaning:" + e.Key, Content: [32]byte{1}, Payload: []byte(e.Key)}); err != nil {
		return err
	}
	if o.silent {
		return handlers.ErrIncomplete
	}
	return nil
}

func (o *oracle) platform() handlers.Platform {
	return handlers.Platform{
		Name:     "oracle",
		Settings: func() any { return new(struct{}) },
		Open: func(name string, _ any, _ handlers.Means) (handlers.Source, error) {
			return handlers.Source{
				Name: name, Platform: "oracle", Push: &handlers.Push{Webhook: o},
				Pollers:  []handlers.Poller{{Name: "list", Role: "list", Interval: time.Minute, Scan: func(context.Context, handlers.Scan) error { return nil }}},
				FollowUp: &handlers.FollowUp{Types: []schemas.Type{schemas.ProcessReported}, GiveUpAfter: time.Hour, Answer: o.answer},
			}, nil
		},
		Normalize: func(d handlers.Delivery) (handlers.Output, error) {
			key, typ := string(d.Payload), schemas.ProcessReported
			if d.Role == "meaning" {
				typ = schemas.ProcessSucceeded
			}
			return handlers.Output{Events: []schemas.Event{{
				ID: d.Source + ":process:" + key + ":" + typ.Event(), Source: d.Source, Type: typ, Key: key,
				Time: "2026-03-01T10:00:00Z", Recorded: d.Received, DeliveryID: d.ID, Channel: d.Channel,
				Data: schemas.Process{Platform: "oracle", ProcessID: key, NativeStatus: "x", Affects: map[string][]string{}},
			}}}, nil
		},
	}
}

func TestWatchFollowsUpWhatWasPushedUntilItIsAnswered(t *testing.T) {
	o := &oracle{}
	w := handlerstest.NewWatch(t, o.platform(), &struct{}{}, &http.Client{})
	expect := func(what string, events []schemas.Event, want ...string) {
		t.Helper()
		var got []string
		for _, e := range events {
			got = append(got, e.Type.Event()+" "+e.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	push := func(id string) []schemas.Event { return w.Push(http.Header{"Id": {id}}, []byte(id)) }
	expect("pushed", push("a"), "reported a")
	expect("pushed again", push("a"))
	expect("pushed then", push("b"), "reported b")
	expect("followed up", w.Follow(), "succeeded a", "succeeded b")
	expect("followed up again", w.Follow())
	w.Redeliver()
	expect("delivered again", w.Follow())
	if diff := cmp.Diff([]string{"a", "b", "a", "b"}, o.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	o.silent = true
	expect("a third", push("c"), "reported c")
	for range 3 {
		expect("without an answer", w.Follow())
		w.Advance(10 * time.Minute)
	}
	if diff := cmp.Diff([]string{"oracle:process:c:reported"}, w.Unanswered()); diff != "" || w.GivenUp() != nil {
		t.Errorf("unanswered (-want +got):\n%s", diff)
	}
	w.Restart()
	w.Advance(time.Hour)
	expect("at the end what there is", w.Follow(), "succeeded c")
	if diff := cmp.Diff([]string{"oracle:process:c:reported"}, w.GivenUp()); diff != "" || w.Unanswered() != nil {
		t.Errorf("given up (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(w.Logged()), "quarantine") || errors.Is(w.Err(), handlers.ErrIncomplete) {
		t.Errorf("logged is %s", w.Logged())
	}
}
