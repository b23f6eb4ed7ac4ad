package handlerstest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

var update = flag.Bool("update", false, "write golden files")

var (
	subjects = regexp.MustCompile(`^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)+$`)
	ids      = regexp.MustCompile(`^[A-Za-z0-9:._=-]{1,522}$`)
)

// wellFormed: events are valid, belong to their delivery, and can be published.
func (s *suite) wellFormed(t *testing.T, d handlers.Delivery) {
	out, err := s.Platform.Normalize(d)
	if err != nil {
		var unusable *handlers.UnusableError
		if !errors.As(err, &unusable) || !slices.Contains(schemas.Reasons(), unusable.Reason) {
			t.Fatalf("got %T: %v, want an *UnusableError with a known reason", err, err)
		}
		s.checkText(t, err)
		return
	}
	if len(out.Events) == 0 {
		t.Fatal("delivery becomes nothing, and no error says why")
	}
	seen := map[string]bool{}
	for _, e := range out.Events {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		if e.DeliveryID != d.ID || e.Source != d.Source || e.Channel != d.Channel || !e.Recorded.Equal(d.Received) {
			t.Errorf("%s is not an event of this delivery: %+v", e.ID, e)
		}
		if !strings.HasPrefix(e.ID, d.Source+":"+e.Type.Entity()+":") {
			t.Errorf("id %s does not begin with source and entity", e.ID)
		}
		if seen[e.ID] {
			t.Errorf("two events of one delivery have the id %s", e.ID)
		}
		seen[e.ID] = true
		s.publishable(t, d, e)
	}
	for _, drift := range out.Drift {
		e := out.Events[0]
		e.Type, e.Key, e.Data, e.Restricted = schemas.PlatformSchemaDrift, drift.Path, drift, nil
		if err := e.Validate(); err != nil || drift.Platform != s.Platform.Name {
			t.Errorf("drift at %s of %s can't be told: %v", drift.Path, drift.Platform, err)
		}
	}
}

func (s *suite) publishable(t *testing.T, d handlers.Delivery, e schemas.Event) {
	messages, err := e.Messages()
	if err != nil {
		t.Fatal(err)
	}
	if twins := len(messages) - 1; (twins == 1) != (e.Restricted != nil) || twins > 1 {
		t.Errorf("%s has %d twins", e.ID, twins)
	}
	for _, m := range messages {
		if !subjects.MatchString(m.Subject) {
			t.Errorf("subject %q has a token that is none", m.Subject)
		}
		if !ids.MatchString(m.ID) || !slices.Equal(m.Header[schemas.HeaderMsgID], []string{m.ID}) {
			t.Errorf("id %q is none, or not that of the header %q", m.ID, m.Header[schemas.HeaderMsgID])
		}
		if limit := 4*len(d.Payload) + 4096; m.Size() > limit {
			t.Errorf("%s has %d bytes, made of %d", m.ID, m.Size(), len(d.Payload))
		}
		var body struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		}
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Errorf("%s: body is not strict JSON", m.ID)
		}
		if body.ID != m.ID || body.Type != "postern."+e.Type.Versioned() {
			t.Errorf("body is of %s %s, message of %s %s", body.Type, body.ID, e.Type, m.ID)
		}
	}
}

// golden: a delivery becomes what it became when somebody last looked.
func (s *suite) golden(t *testing.T, d handlers.Delivery, file string) {
	got := s.print(d)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s; if that is right, -update writes it (-golden +got):\n%s", file, diff)
	}
}

// print writes what a delivery becomes, for people.
func (s *suite) print(d handlers.Delivery) string {
	var b strings.Builder
	out, err := s.Platform.Normalize(d)
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	for _, e := range out.Events {
		messages, err := e.Messages()
		if err != nil {
			fmt.Fprintln(&b, err)
		}
		for _, m := range messages {
			fmt.Fprintf(&b, "%s %s\n", m.Stream, m.Subject)
			var headers []string
			for name, values := range m.Header {
				headers = append(headers, fmt.Sprintf("%s: %s", name, strings.Join(values, ", ")))
			}
			slices.Sort(headers)
			fmt.Fprintf(&b, "%s\n%s\n\n", strings.Join(headers, "\n"), m.Body)
		}
	}
	for _, drift := range out.Drift {
		if drift.Value == nil {
			fmt.Fprintf(&b, "drift %s\n", drift.Path)
		} else {
			fmt.Fprintf(&b, "drift %s %q\n", drift.Path, *drift.Value)
		}
	}
	return b.String()
}
