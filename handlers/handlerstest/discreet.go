package handlerstest

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// discreet: what nobody knows, in every object of every answer, is told by no
// event and keeps none from being told.
func (c PollerCase) discreet(t *testing.T) {
	for n, h := range c.Stage(t).Happenings {
		t.Run(h.Name, func(t *testing.T) {
			within(t, c, func(w *world) {
				w.gate.spoilAnswers(plant)
				w.start()
				h := w.stage.Happenings[n]
				h.Do()
				w.tellsOf(h)
			})
		})
	}
}

// plant adds members to all objects of an answer.
func plant(body []byte) []byte {
	var tree any
	if json.Unmarshal(body, &tree) != nil {
		return body
	}
	for _, at := range objects(tree) {
		at["remark"] = planted[2].Text
		at["remarks"] = []any{map[string]any{"text": planted[3].Text}}
		at[planted[0].Text] = true
		at[planted[1].Text] = map[string]any{}
	}
	return marshalled(tree)
}

// scrambled: whatever is in the place of a value, no error says it, and all is
// well when answers are.
func (c PollerCase) scrambled(t *testing.T) {
	within(t, c, func(w *world) {
		w.start()
		w.scrambled = true
		rounds := 30
		if thorough() {
			rounds = 300
		}
		for n := range rounds {
			w.gate.spoilAnswers(func(body []byte) []byte { return scramble(body, n) })
			w.round()
		}
		w.gate.spoilAnswers(nil)
		for range 3 {
			w.round()
		}
		w.succeeded()
		w.quiet(2)
	})
}

// scramble replaces a value of an answer by a canary: the nth, counted in
// circles.
func scramble(body []byte, n int) []byte {
	var tree any
	if json.Unmarshal(body, &tree) != nil {
		return body
	}
	count := 0
	replaceEach(tree, func() { count++ })
	if count == 0 {
		return body
	}
	var out []byte
	at := 0
	replaceEach(tree, func() {
		if at == n*7%count {
			out = marshalled(tree)
		}
		at++
	})
	return out
}

func marshalled(tree any) []byte {
	b, err := json.Marshal(tree, json.Deterministic(true))
	if err != nil {
		panic(err) // it was JSON
	}
	return b
}

// junk: whatever a delivery holds, translating it neither panics nor says what
// it is, and gives the same every time.
func (c PollerCase) junk(t *testing.T) {
	var deliveries []handlers.Delivery
	roles := map[string]int{}
	for n := range c.Stage(t).Happenings {
		within(t, c, func(w *world) {
			w.start()
			w.stage.Happenings[n].Do()
			w.tellsOf(w.stage.Happenings[n])
			for _, d := range w.deliveries {
				if roles[d.Role]++; roles[d.Role] <= 2 {
					deliveries = append(deliveries, d)
				}
			}
		})
	}
	for _, d := range deliveries {
		for _, payload := range mutants(d.Payload) {
			d.Payload = payload
			c.survives(t, d)
		}
	}
}

// mutants returns payloads that are almost like one: cut off, with another bit,
// and with other values.
func mutants(payload []byte) [][]byte {
	var list [][]byte
	places := 15
	if thorough() {
		places = 80
	}
	step := 1 + len(payload)/places
	for n := 0; n < len(payload); n += step {
		list = append(list, bytes.Clone(payload[:n]))
		flipped := bytes.Clone(payload)
		flipped[n] ^= 1 << (n % 8)
		list = append(list, flipped)
	}
	for n := range 2 * places {
		list = append(list, scramble(payload, n))
	}
	return list
}

func (c PollerCase) survives(t *testing.T, d handlers.Delivery) {
	t.Helper()
	payload := bytes.Clone(d.Payload)
	s := &suite{Case: Case{Platform: c.Platform}}
	out, err := c.Platform.Normalize(d)
	var unusable *handlers.UnusableError
	switch {
	case err == nil:
	case !errors.As(err, &unusable) || !slices.Contains(schemas.Reasons(), unusable.Reason):
		t.Errorf("got %T: %v, want an *UnusableError with a known reason", err, err)
	case heard(err.Error()):
		t.Errorf("a canary is in an error: %v", err)
	}
	for _, e := range out.Events {
		if !slices.Contains(c.Vocabulary, e.Type) {
			t.Errorf("%s is not in the platform's vocabulary", e.Type)
		}
	}
	if first, again := s.told(d), s.told(d); !reflect.DeepEqual(first, again) {
		t.Errorf("the same delivery becomes something else (-first +later):\n%s", cmp.Diff(first, again))
	}
	if !bytes.Equal(payload, d.Payload) {
		t.Error("the delivery was changed")
	}
}

// settings: without what authenticates a source is not opened, nor with a URL
// on whose way others can listen. What is wrong is said without a secret.
func (c PollerCase) settings(t *testing.T) {
	if a, b := c.Platform.Settings(), c.Platform.Settings(); a == b {
		t.Error("Settings returns the same twice")
	}
	open := func(change func(settings any)) (handlers.Source, error) {
		s := c.Stage(t).Settings
		change(s)
		return c.Platform.Open(c.Platform.Name, s, handlers.Means{})
	}
	refuses := func(what string, change func(settings any)) {
		t.Helper()
		_, err := open(change)
		if err == nil {
			t.Errorf("%s: opened", what)
			return
		}
		for _, s := range secretsIn(c.Stage(t).Settings) {
			if strings.Contains(err.Error(), s.Value()) || strings.Contains(err.Error(), "pass-4711") {
				t.Errorf("%s: a secret is in the error: %v", what, err)
			}
		}
	}
	source, err := open(func(any) {})
	if err != nil {
		t.Fatalf("Open, without means: %v", err)
	}
	names := map[string]bool{}
	for _, p := range source.Pollers {
		if names[p.Name] || p.Name != schemas.Token(p.Name) || p.Role == "" || p.Interval <= 0 || p.Scan == nil {
			t.Errorf("the poller %q is none: %+v", p.Name, p)
		}
		names[p.Name] = true
	}
	if len(names) == 0 || source.Name != c.Platform.Name || source.Platform != c.Platform.Name {
		t.Errorf("the source is %+v", source)
	}
	if _, err := c.Platform.Open("other", &struct{}{}, handlers.Means{}); err == nil {
		t.Error("the settings of another platform were taken")
	}
	for n := range secretsIn(c.Stage(t).Settings) {
		refuses("without a secret", func(settings any) { *secretsIn(settings)[n] = handlers.Secret{} })
		refuses("with an empty secret", func(settings any) { *secretsIn(settings)[n] = handlers.NewSecret("") })
	}
	for n := range urlsIn(c.Stage(t).Settings) {
		set := func(url string) func(any) { return func(settings any) { *urlsIn(settings)[n] = url } }
		for _, url := range []string{
			"", "api", "http://api.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "ftp://127.0.0.1",
			"https://who:pass-4711@api.example.com", "https://api.example.com?a=b", "https://api.example.com#a",
		} {
			refuses(url, set(url))
		}
		for _, url := range []string{"http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://gate.example.com/one/"} {
			if _, err := open(set(url)); err != nil {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
}

// secretsIn returns the secrets of settings that have a value.
func secretsIn(settings any) []*handlers.Secret {
	var list []*handlers.Secret
	each(reflect.ValueOf(settings), "", func(_ string, v reflect.Value) {
		if s, ok := v.Addr().Interface().(*handlers.Secret); ok && s.Value() != "" {
			list = append(list, s)
		}
	})
	return list
}

// urlsIn returns the URLs of settings.
func urlsIn(settings any) []*string {
	var list []*string
	each(reflect.ValueOf(settings), "", func(name string, v reflect.Value) {
		if s, ok := v.Addr().Interface().(*string); ok && (name == "url" || strings.HasSuffix(name, "_url")) {
			list = append(list, s)
		}
	})
	return list
}

// each calls fn with the fields of settings, and of what is in them, and with
// the names that the configuration has for them.
func each(v reflect.Value, name string, fn func(name string, v reflect.Value)) {
	if v.CanAddr() && v.Addr().CanInterface() {
		fn(name, v)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			each(v.Elem(), name, fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			each(v.Index(i), name, fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				each(v.Field(i), f.Tag.Get("yaml"), fn)
			}
		}
	}
}
