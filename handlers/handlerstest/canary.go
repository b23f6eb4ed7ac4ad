package handlerstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// planted are the canaries of the suite, one of each kind that a platform may
// meet most. None of them has anything to do in what everybody may see.
var planted = canaries.Some(1, 4)

var ear = canaries.NewEar(planted)

// canary: what nobody knows is told to nobody but the readers of twins. It is
// put everywhere: as a further member of every object, as the name of one, and
// in the place of every value, where at least no error may repeat it.
func (s *suite) canary(t *testing.T, d handlers.Delivery) {
	var tree any
	if json.Unmarshal(s.recorded, &tree) != nil {
		t.Skip("recording is not JSON")
	}
	var text string
	for _, c := range planted {
		text += c.Text + " "
	}
	for _, at := range objects(tree) {
		for name, value := range map[string]any{
			"remark":        text,
			"remarks":       []any{map[string]any{"text": text}},
			planted[0].Text: true,
			planted[1].Text: map[string]any{},
		} {
			if _, taken := at[name]; taken {
				continue
			}
			at[name] = value
			s.listen(t, s.caged(t, d, tree), true)
			delete(at, name)
		}
	}
	replaceEach(tree, func() { s.listen(t, s.caged(t, d, tree), false) })
}

// caged returns d with the payload that tree makes.
func (s *suite) caged(t *testing.T, d handlers.Delivery, tree any) handlers.Delivery {
	t.Helper()
	recorded, err := json.Marshal(tree, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	d.Payload = s.Payload(recorded)
	return d
}

// listen checks that no canary can be heard of d: in errors, and where the
// canary is in what nobody knows, in what is open to everybody.
func (s *suite) listen(t *testing.T, d handlers.Delivery, open bool) {
	t.Helper()
	out, err := s.Platform.Normalize(d)
	if err != nil {
		var unusable *handlers.UnusableError
		if !errors.As(err, &unusable) {
			t.Errorf("got %T: %v, want an *UnusableError", err, err)
		}
		s.checkText(t, err)
		return
	}
	if !open {
		return
	}
	for _, drift := range out.Drift {
		if heard(drift.Path) || drift.Value != nil && heard(*drift.Value) {
			t.Errorf("a canary is in the drift at %s", drift.Path)
		}
	}
	for _, e := range out.Events {
		messages, err := e.Messages()
		if err != nil {
			t.Error(err)
		}
		for _, m := range messages {
			if m.Stream == schemas.StreamRestricted {
				m.Body = nil // here it may be
			}
			if heard(fmt.Sprintf("%s %s %v %s", m.Subject, m.ID, m.Header, m.Body)) {
				t.Errorf("a canary is in %s on %s: %s", m.ID, m.Stream, m.Body)
			}
		}
	}
}

// checkText: errors name fields and rules, never values.
func (s *suite) checkText(t *testing.T, err error) {
	t.Helper()
	if heard(err.Error()) {
		t.Errorf("a canary is in an error: %v", err)
	}
	var tree any
	if json.Unmarshal(s.recorded, &tree) != nil {
		return
	}
	for _, value := range leaves(tree) {
		if len(value) >= 10 && strings.Contains(err.Error(), value) {
			t.Errorf("error holds a value of the push: %v", err)
		}
	}
}

func heard(text string) bool { return len(ear.Hear([]byte(text))) > 0 }

// objects returns all objects in a tree of JSON.
func objects(tree any) []map[string]any {
	var all []map[string]any
	switch v := tree.(type) {
	case map[string]any:
		all = append(all, v)
		for _, member := range v {
			all = append(all, objects(member)...)
		}
	case []any:
		for _, element := range v {
			all = append(all, objects(element)...)
		}
	}
	return all
}

// leaves returns all strings in a tree of JSON.
func leaves(tree any) []string {
	var all []string
	switch v := tree.(type) {
	case string:
		return []string{v}
	case map[string]any:
		for _, member := range v {
			all = append(all, leaves(member)...)
		}
	case []any:
		for _, element := range v {
			all = append(all, leaves(element)...)
		}
	}
	return all
}

// replaceEach calls try with each value of a tree replaced in turn by a canary
// of another type.
func replaceEach(tree any, try func()) {
	others := []any{planted[0].Text, []any{planted[1].Text}, map[string]any{planted[2].Text: planted[3].Text}}
	each := func(get any, set func(any)) {
		for _, other := range others {
			set(other)
			try()
		}
		set(get)
		replaceEach(get, try)
	}
	switch v := tree.(type) {
	case map[string]any:
		for name, member := range v {
			each(member, func(x any) { v[name] = x })
		}
	case []any:
		for i, element := range v {
			each(element, func(x any) { v[i] = x })
		}
	}
}
