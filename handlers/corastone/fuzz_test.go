package corastone_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/schemas"
)

func recordings(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings")
	}
	vectors, _ := filepath.Glob("testdata/vectors/*.json")
	var all [][]byte
	for _, file := range append(files, vectors...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// FuzzAuthenticate: whatever comes, it is refused or can't be checked, without
// a panic, and the request stays as it is. Only what a pinned key signed is
// accepted: the vectors, the same ones in every process.
func FuzzAuthenticate(f *testing.F) {
	webhook := openVectors(f)
	genuine := map[handlers.Authentic]bool{}
	for _, recorded := range recordings(f) {
		f.Add(recorded, "X-Amz-Sns-Message-Type", "Notification")
		f.Add(recorded, "Content-Encoding", "gzip")
		if a, err := webhook.Authenticate(handlers.Request{Body: recorded, Received: received}); err == nil {
			genuine[a] = true
		}
	}
	if len(genuine) < 10 {
		f.Fatalf("only %d vectors differ", len(genuine))
	}
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		r := handlers.Request{Header: http.Header{name: {value}}, Body: bytes.Clone(body), Received: received}
		a, err := webhook.Authenticate(r)
		if !bytes.Equal(r.Body, body) || len(r.Header) != 1 || r.Header[name][0] != value {
			t.Error("request was changed")
		}
		if err == nil {
			if !genuine[a] {
				t.Errorf("accepted %+v", a)
			}
			return
		}
		var refused *handlers.RefusedError
		var uncheckable *handlers.UncheckableError
		if !errors.As(err, &refused) && !errors.As(err, &uncheckable) {
			t.Errorf("got %T: %v", err, err)
		}
		if a != (handlers.Authentic{}) {
			t.Errorf("refused, and says %+v", a)
		}
	})
}

// FuzzNormalize: whatever was delivered becomes valid events or an
// *UnusableError without a word of it, the same every time.
func FuzzNormalize(f *testing.F) {
	roles := []string{corastone.RoleEntry, corastone.RoleNotification, corastone.RoleConfirmation, corastone.RoleUnsubscribe, ""}
	for _, recorded := range recordings(f) {
		f.Add(recorded, uint8(0))
		f.Add(notification(string(recorded)).Body(), uint8(1))
		f.Add(recorded, uint8(2))
		f.Add(recorded, uint8(3))
	}
	f.Fuzz(func(t *testing.T, payload []byte, role uint8) {
		d := delivery(roles[int(role)%len(roles)], bytes.Clone(payload))
		out, err := corastone.Platform().Normalize(d)
		again, errAgain := corastone.Platform().Normalize(d)
		if !bytes.Equal(d.Payload, payload) {
			t.Error("payload was changed")
		}
		if diff := cmp.Diff(out, again); diff != "" || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Errorf("differs the second time: %v, %v\n%s", err, errAgain, diff)
		}
		if err != nil {
			var unusable *handlers.UnusableError
			if !errors.As(err, &unusable) {
				t.Errorf("got %T: %v", err, err)
			}
			for _, value := range values(payload) {
				if len(value) > 12 && strings.Contains(err.Error(), value) {
					t.Errorf("error holds a value: %v", err)
				}
			}
			return
		}
		if len(out.Events) == 0 {
			t.Error("neither an event nor an error")
		}
		ids := map[string]bool{}
		for _, e := range out.Events {
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
			if _, err := e.Messages(); err != nil {
				t.Error(err)
			}
			if ids[e.ID] {
				t.Errorf("two events have the id %s", e.ID)
			}
			ids[e.ID] = true
		}
		for _, drift := range out.Drift {
			e := out.Events[0]
			e.Type, e.Key, e.Data, e.Restricted = schemas.PlatformSchemaDrift, drift.Path, drift, nil
			if err := e.Validate(); err != nil {
				t.Errorf("drift at %q can't be told: %v", drift.Path, err)
			}
		}
	})
}

// values returns the strings in the values of a JSON text, as far as it is one.
func values(text []byte) []string {
	var all []string
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return all
		}
		kind, length := dec.StackIndex(dec.StackDepth())
		if token.Kind() == jsontext.KindString && (kind != jsontext.KindBeginObject || length%2 == 0) {
			all = append(all, token.String())
		}
	}
}
