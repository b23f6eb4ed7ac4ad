package handlerstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// register is a platform with one list, which a test writes.
type register struct {
	list   map[string]string
	fail   error
	asked  int
	client *http.Client
}

func (r *register) platform() handlers.Platform {
	return handlers.Platform{
		Name:     "register",
		Settings: func() any { return new(struct{}) },
		Open: func(name string, _ any, m handlers.Means) (handlers.Source, error) {
			r.client = m.Client
			return handlers.Source{Name: name, Platform: "register", Pollers: []handlers.Poller{
				{Name: "list", Role: "list", Interval: time.Minute, Scan: r.scan},
			}}, nil
		},
		Normalize: func(d handlers.Delivery) (handlers.Output, error) {
			c, err := handlers.DecodeChange(d.Payload)
			if err != nil {
				return handlers.Output{}, err
			}
			t := schemas.ProcessReported
			if !c.After().Present() {
				t = schemas.ProcessFailed
			}
			p := schemas.Process{
				Platform: "register", ProcessID: c.Key, NativeStatus: string(c.After().State),
				Affects: map[string][]string{"before": {string(c.Before().State)}},
			}
			return handlers.Output{Events: []schemas.Event{c.Event(d, t, c.Key, p)}}, nil
		},
	}
}

func (r *register) scan(_ context.Context, s handlers.Scan) error {
	r.asked++
	for key, state := range r.list {
		b, err := json.Marshal(state)
		if err != nil {
			return err
		}
		if err := s.Saw(handlers.Sighting{Key: key, Container: "all", State: jsontext.Value(b)}); err != nil {
			return err
		}
	}
	if r.fail != nil {
		return r.fail
	}
	return s.Complete("all")
}

func told(events []schemas.Event) []string {
	var list []string
	for _, e := range events {
		p := e.Data.(schemas.Process)
		list = append(list, fmt.Sprintf("%s %s %s>%s", e.Type.Event(), e.Key, p.Affects["before"][0], p.NativeStatus))
	}
	slices.Sort(list)
	return list
}

func TestWatchTellsEachChangeOnceAndNothingOtherwise(t *testing.T) {
	r := &register{list: map[string]string{"a": "1", "b": "1"}}
	client := &http.Client{}
	w := handlerstest.NewWatch(t, r.platform(), &struct{}{}, client)
	if r.client != client {
		t.Error("the source was opened without the client")
	}
	round := func(want ...string) {
		t.Helper()
		w.Advance(time.Minute)
		if diff := cmp.Diff(want, told(w.Round())); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
	round(`reported a >"1"`, `reported b >"1"`)
	round()
	r.list["a"] = "2"
	round(`reported a "1">"2"`)
	round()
	w.Restart()
	round()
	delete(r.list, "b")
	round()
	round(`failed b "1">"1"`)
	round()
	r.list["b"] = "1"
	round(`reported b "1">"1"`)
	r.fail = handlers.ErrIncomplete
	r.list = map[string]string{"a": "3"}
	round()
	if !errors.Is(w.Err(), handlers.ErrIncomplete) {
		t.Errorf("Err returns %v", w.Err())
	}
	r.fail = nil
	round(`reported a "2">"3"`)
	if w.Err() != nil {
		t.Error(w.Err())
	}
}
