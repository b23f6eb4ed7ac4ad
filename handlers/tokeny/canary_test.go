package tokeny_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
)

// TestPersonalDataStaysOutside: nothing of who somebody is can be heard of in
// events, deliveries, what is kept, drift or errors, whatever member it is in
// and whatever goes wrong; nor can what logs us in.
func TestPersonalDataStaysOutside(t *testing.T) {
	birds := canaries.Some(11, 40)
	ear := canaries.NewEar(birds)
	next := func() string {
		bird := birds[0]
		birds = birds[1:]
		return bird.Text
	}
	secret, login := next(), next()
	person := func(id string) map[string]any {
		return map[string]any{
			"id": id, "status": "pending", "kycStatus": "approved", "kycProvider": "MANUAL",
			"investorType": "individual", "country": "DEU", "currentSection": nil, "walletProvider": "USER_MANAGED",
			"createdAt": "2026-03-01T10:00:00.000Z",
			"email":     next(), "name": next(), "wallet": next(), "lastLogin": next(),
			"passportNumber": next(), "ssnNumber": next(), "politicallyExposed": next(),
			"documents": []any{map[string]any{"idNumber": next()}}, "mainData": map[string]any{"birthday": map[string]any{"value": next()}},
			next(): true,
		}
	}
	people := []any{person("b1e3a6d2-0c47-4f19-8a5e-61d9f7c02e34"), person("0d9c6a57-4b1e-4a27-b6d3-e0f8a1c25b90")}
	holder := person("5d2f7b81-33c9-4e6a-9b04-8f1e0a6c7d43")
	list := func(all ...any) []byte {
		b, err := json.Marshal(map[string]any{"items": all, "remark": "remark"}, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var candidates, holders []byte
	status := 0
	server := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if status != 0 {
			rw.WriteHeader(status)
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/signin"):
			_, _ = fmt.Fprintf(rw, `{"token":%q}`, login)
		case strings.HasSuffix(r.URL.Path, "/candidates"):
			_, _ = rw.Write(candidates)
		default:
			_, _ = rw.Write(holders)
		}
	})
	w := newWorld(t)
	w.secret = secret
	w.open(t, server)
	listen := func(what string, data []byte) {
		t.Helper()
		for _, heard := range ear.Hear(data) {
			t.Errorf("%s: heard %v", what, heard)
		}
	}
	told := 0
	scan := func() {
		t.Helper()
		for _, e := range w.Round() {
			messages, err := e.Messages()
			if err != nil {
				t.Fatal(err)
			}
			told++
			for _, m := range messages {
				listen("event", fmt.Appendf(nil, "%s %s %v %s", m.Subject, m.ID, m.Header, m.Body))
			}
		}
		if err := w.Err(); err != nil {
			listen("error", fmt.Appendf(nil, "%v %+v %#v", err, err, err))
		}
		listen("state", w.Stored())
		for _, p := range w.payloads {
			listen("delivery", p)
		}
		for _, d := range w.drift {
			listen("drift", []byte(d.Path+" "+value(d)))
		}
	}

	candidates, holders = list(people...), list(holder)
	scan()
	// One of them becomes a holder, known by the wallet alone; the other one
	// can't be looked for, and is absent.
	first := people[0].(map[string]any)
	delete(holder, "id")
	delete(holder, "status")
	holder["wallet"] = map[string]any{"address": first["wallet"]}
	candidates, holders = list(), list(holder)
	scan()
	scan()
	if told < 4 {
		t.Fatalf("%d events were told, which proves nothing", told)
	}
	// Everything goes wrong, in every place.
	words := map[string]bool{
		"status": true, "kycStatus": true, "kycProvider": true, "investorType": true,
		"country": true, "currentSection": true, "walletProvider": true,
	}
	whole := list(people...)
	for n := 0; n < len(whole); n += 1 + len(whole)/37 {
		candidates = whole[:n]
		scan()
		candidates, holders = list(), whole[:n]
		scan()
	}
	for name := range first {
		bird := birds[0].Text
		for _, wrong := range []any{7, true, []any{bird}, map[string]any{bird: bird}, bird} {
			if _, text := wrong.(string); text && words[name] {
				continue // these are told as they are
			}
			before := first[name]
			first[name] = wrong
			candidates = list(first)
			scan()
			first[name] = before
		}
	}
	for _, status = range []int{400, 401, 403, 404, 409, 418, 429, 500, 502} {
		candidates, holders = whole, whole
		scan()
	}
}

// TestNothingSecretIsPrinted: neither settings nor what is made of them print
// what logs us in.
func TestNothingSecretIsPrinted(t *testing.T) {
	s := settings("https://api.tokeny.com", token)
	for _, thing := range []any{s, *s, s.API, *s.API, s.API.Password} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, thing); strings.Contains(text, password) {
				t.Errorf("%s prints the password: %s", verb, text)
			}
		}
	}
}
