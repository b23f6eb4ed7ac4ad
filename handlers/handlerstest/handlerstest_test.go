package handlerstest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// defects maps what can be wrong with a platform to the subtest that must
// notice.
var defects = map[string]string{
	"none":                       "",
	"accepts everything":         "flipped_bit",
	"verifies half the body":     "flipped_bit",
	"needs no header":            "missing_header",
	"needs another header":       "missing_header",
	"refuses with any error":     "flipped_bit",
	"quotes what it refuses":     "flipped_bit",
	"changes the body":           "request_is_left_alone",
	"changes the header":         "request_is_left_alone",
	"counts":                     "normalize_is_pure",
	"changes the payload":        "normalize_is_pure",
	"forgets the delivery":       "events_are_well-formed",
	"forgets when it was":        "events_are_well-formed",
	"says it twice":              "events_are_well-formed",
	"has ids of its own":         "events_are_well-formed",
	"has an invalid event":       "events_are_well-formed",
	"says nothing":               "events_are_well-formed",
	"drifts nowhere":             "events_are_well-formed",
	"takes half a payload":       "truncated",
	"tells the unknown":          "canary",
	"drifts with the unknown":    "canary",
	"quotes what it can't use":   "canary",
	"became something else":      "golden",
	"fails with any error":       "truncated",
	"calls a bad reason":         "events_are_well-formed",
	"has no content":             "one",
	"believes nothing authentic": "one",

	// Of a platform that is believed whatever the body says.
	"unsigned: none":                   "",
	"unsigned: has one content":        "flipped_bit",
	"unsigned: fails with any error":   "flipped_bit",
	"unsigned: takes half a payload":   "truncated",
	"unsigned: needs no header":        "missing_header",
	"unsigned: refuses with any error": "missing_header",
}

// TestSuiteNoticesEveryDefect runs the suite on a toy platform with one defect
// at a time, each in a process of its own, as a failing test can't be caught.
func TestSuiteNoticesEveryDefect(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each defect")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"one.json":         `{"id":"A-1","note":"a longer note","more":{"x":1}}`,
		"one.golden":       runToy(t, dir),
		"unusable.json":    `{"id":"","note":"a longer note"}`,
		"unusable.golden":  "unusable, invalid_event: id is empty\n",
		"ignored.markdown": "not a recording",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for defect, notices := range defects {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestToy$", "-test.v")
			child.Env = append(os.Environ(), "TOY_DIR="+dir, "TOY_DEFECT="+defect)
			out, err := child.CombinedOutput()
			if (err == nil) != (notices == "") {
				t.Fatalf("the suite says %v:\n%s", err, out)
			}
			if notices != "" && !failed(string(out), notices) {
				t.Errorf("%s did not notice:\n%s", notices, out)
			}
		})
	}
}

// failed reports whether a subtest of this name did.
func failed(out, name string) bool {
	for line := range strings.Lines(out) {
		if test, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok && strings.Contains(test, "/"+name+" ") {
			return true
		}
	}
	return false
}

// runToy returns what the sound toy platform's recording becomes, as the suite
// writes it.
func runToy(t *testing.T, dir string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "one.json"), []byte(`{"id":"A-1","note":"a longer note","more":{"x":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestToy$", "-update")
	child.Env = append(os.Environ(), "TOY_DIR="+dir, "TOY_DEFECT=none")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	golden, err := os.ReadFile(filepath.Join(dir, "one.golden"))
	if err != nil {
		t.Fatal(err)
	}
	return string(golden)
}

// TestToy is what [TestSuiteNoticesEveryDefect] starts.
func TestToy(t *testing.T) {
	dir := os.Getenv("TOY_DIR")
	if dir == "" {
		t.Skip("only started by TestSuiteNoticesEveryDefect")
	}
	defect, unsigned := strings.CutPrefix(os.Getenv("TOY_DEFECT"), "unsigned: ")
	p := &toy{defect: defect, unsigned: unsigned}
	handlerstest.Webhook(t, handlerstest.Case{
		Platform: handlers.Platform{
			Name: "toy",
			Open: func(name string, _ any, _ handlers.Means) (handlers.Source, error) {
				push := &handlers.Push{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Webhook: p}
				return handlers.Source{Name: name, Platform: "toy", Push: push}, nil
			},
			Normalize: p.normalize,
		},
		Dir: dir,
		Push: func(_ *testing.T, recorded []byte) handlers.Request {
			return handlers.Request{
				Header:   http.Header{"X-Toy": {digest(recorded)}, "X-Other": {"y"}},
				Body:     recorded,
				Received: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
			}
		},
		Payload:  func(recorded []byte) []byte { return recorded },
		Required: []string{"x-toy"},
		Unsigned: unsigned,
	})
}

// toy is a platform with a defect. A header holds a keyed hash of the body,
// or, if it is unsigned, anything.
type toy struct {
	defect   string
	unsigned bool
	count    atomic.Int64
}

func digest(body []byte) string {
	sum := sha256.Sum256(append([]byte("secret"), body...))
	return hex.EncodeToString(sum[:])
}

func (p *toy) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	got := r.Header.Get("X-Toy")
	if p.defect == "needs another header" && r.Header.Get("X-Other") == "" {
		return handlers.Authentic{}, &handlers.RefusedError{Reason: handlers.ReasonHeader}
	}
	verified := got == digest(r.Body) || p.unsigned && got != ""
	switch p.defect {
	case "accepts everything":
		verified = got != ""
	case "verifies half the body":
		verified = got != "" && strings.HasPrefix(string(r.Body), `{"id":"`)
	case "needs no header":
		verified = verified || got == ""
	case "believes nothing authentic":
		verified = false
	}
	switch {
	case verified:
	case p.defect == "refuses with any error":
		return handlers.Authentic{}, errors.New("no")
	case p.defect == "quotes what it refuses":
		return handlers.Authentic{}, &handlers.RefusedError{Reason: handlers.ReasonSignature, Detail: "of a longer note"}
	default:
		return handlers.Authentic{}, &handlers.RefusedError{Reason: handlers.ReasonSignature, Detail: "digest differs"}
	}
	a := handlers.Authentic{Role: "note", TransportID: got, Content: sha256.Sum256(r.Body)}
	switch p.defect {
	case "changes the body":
		r.Body[0] = ' '
	case "changes the header":
		r.Header.Set("X-Other", "z")
	case "has no content":
		a.Content = [32]byte{}
	case "has one content":
		a.Content = [32]byte{1}
	}
	return a, nil
}

func (p *toy) normalize(d handlers.Delivery) (handlers.Output, error) {
	var note struct {
		ID      string         `json:"id"`
		Note    string         `json:"note"`
		Unknown jsontext.Value `json:",embed"`
	}
	unusable := func(reason schemas.Reason, detail string) (handlers.Output, error) {
		switch p.defect {
		case "quotes what it can't use":
			detail += ": " + string(d.Payload)
		case "fails with any error":
			return handlers.Output{}, errors.New(detail)
		case "calls a bad reason":
			reason = "because"
		}
		return handlers.Output{}, &handlers.UnusableError{Reason: reason, Detail: detail}
	}
	if err := json.Unmarshal(d.Payload, &note); err != nil && p.defect != "takes half a payload" {
		return unusable(schemas.ReasonBadJSON, "not a note")
	}
	if note.ID == "" && p.defect != "takes half a payload" {
		return unusable(schemas.ReasonInvalidEvent, "id is empty")
	}
	e := schemas.Event{
		ID: d.Source + ":error:" + schemas.IDPart(note.ID), Source: d.Source, Type: schemas.ErrorLogged, Key: note.ID + "-",
		Time: "2026-02-03T04:05:06Z", Recorded: d.Received, DeliveryID: d.ID, Channel: d.Channel,
		Data: schemas.LoggedError{Platform: "toy", ErrorID: note.ID + "-"},
	}
	out := handlers.Output{}
	if len(note.Unknown) > 0 {
		e.Restricted = &schemas.Restricted{Native: jsontext.Value(d.Payload).Clone()}
		out.Drift = []schemas.Drift{{Platform: "toy", Path: "more"}}
	}
	p.spoil(d, &e, &out, string(note.Unknown))
	out.Events = append(out.Events, e)
	switch p.defect {
	case "says it twice":
		out.Events = append(out.Events, e)
	case "says nothing":
		out.Events = nil
	}
	return out, nil
}

func (p *toy) spoil(d handlers.Delivery, e *schemas.Event, out *handlers.Output, unknown string) {
	switch p.defect {
	case "counts":
		e.ID += hex.EncodeToString([]byte{byte(p.count.Add(1))})
	case "changes the payload":
		d.Payload[0] = ' '
	case "forgets the delivery":
		e.DeliveryID = "other"
	case "forgets when it was":
		e.Recorded = e.Recorded.Add(1)
	case "has ids of its own":
		e.ID = "mine"
	case "has an invalid event":
		e.Time = "noon"
	case "drifts nowhere":
		out.Drift = []schemas.Drift{{Platform: "toy"}}
	case "tells the unknown":
		e.Data = schemas.LoggedError{Platform: "toy", ErrorID: e.Key, Action: &schemas.ErrorAction{Name: &unknown}}
	case "drifts with the unknown":
		out.Drift = []schemas.Drift{{Platform: "toy", Path: "more", Value: &unknown}}
	case "became something else":
		e.Time = "2026-02-03T04:05:07Z"
	}
}
