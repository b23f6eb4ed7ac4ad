package schemas_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/schemas"
)

func TestValidateRefusesWhatBreaksARule(t *testing.T) {
	process := func(change func(*schemas.Process)) func(*schemas.Event) {
		return func(e *schemas.Event) {
			p := e.Data.(schemas.Process)
			change(&p)
			e.Data = p
		}
	}
	long := strings.Repeat("secret", 100)
	for field, spoils := range map[string][]func(*schemas.Event){
		"Event.ID": {
			func(e *schemas.Event) { e.ID = "" },
			func(e *schemas.Event) { e.ID = "secret id" },
			func(e *schemas.Event) { e.ID = "secret\r\n" },
			func(e *schemas.Event) { e.ID = "sécret" },
			func(e *schemas.Event) { e.ID = long },
		},
		"Event.Source": {
			func(e *schemas.Event) { e.Source = "" },
			func(e *schemas.Event) { e.Source = "Secret" },
			func(e *schemas.Event) { e.Source = "sec.ret" },
		},
		"Event.Type": {
			func(e *schemas.Event) { e.Type = "" },
			func(e *schemas.Event) { e.Type = "process.secret" },
		},
		"Event.Key": {
			func(e *schemas.Event) { e.Key = "" },
			func(e *schemas.Event) { e.Key = long },
		},
		"Event.Time": {
			func(e *schemas.Event) { e.Time = "" },
			func(e *schemas.Event) { e.Time = "secret" },
			func(e *schemas.Event) { e.Time = "2026-03-02" },
			func(e *schemas.Event) { e.Time = "2026-02-29T00:00:00Z" },
		},
		"Event.Recorded": {func(e *schemas.Event) { e.Recorded = time.Time{} }},
		"Event.DeliveryID": {
			func(e *schemas.Event) { e.DeliveryID = "" },
			func(e *schemas.Event) { e.DeliveryID, e.Channel = "", "" },
		},
		"Event.Channel": {func(e *schemas.Event) { e.Channel = "" }},
		"Event.Data":    {func(e *schemas.Event) { e.Data = nil }},
		"Event.Data.Platform": {
			process(func(p *schemas.Process) { p.Platform = "" }),
			func(e *schemas.Event) { e.Data = schemas.Job{} },
			func(e *schemas.Event) { e.Data = schemas.LoggedError{ErrorID: "secret"} },
		},
		"Event.Data.ProcessID": {
			process(func(p *schemas.Process) { p.ProcessID = "" }),
			process(func(p *schemas.Process) { p.ProcessID = long }),
		},
		"Event.Data.NativeStatus": {
			process(func(p *schemas.Process) { p.NativeStatus = "" }),
			process(func(p *schemas.Process) { p.NativeStatus = long }),
			func(e *schemas.Event) {
				e.Data = schemas.Orchestration{Platform: "p", OrchestrationID: "secret", ProcessIDs: []string{}}
			},
		},
		"Event.Data.Affects": {process(func(p *schemas.Process) { p.Affects = nil })},
		"Event.Data.Ledger.Block": {
			process(func(p *schemas.Process) { p.Ledger = &schemas.Ledger{Channel: "secret", Block: ptr(int64(-1))} }),
		},
		"Event.Data.OrchestrationID": {
			func(e *schemas.Event) {
				e.Data = schemas.Orchestration{Platform: "p", NativeStatus: "secret", ProcessIDs: []string{}}
			},
		},
		"Event.Data.ProcessIDs": {
			func(e *schemas.Event) {
				e.Data = schemas.Orchestration{Platform: "p", OrchestrationID: "secret", NativeStatus: "x"}
			},
		},
		"Event.Data.ErrorID": {func(e *schemas.Event) { e.Data = schemas.LoggedError{Platform: "secret"} }},
		"Event.Data.Fields":  {func(e *schemas.Event) { e.Data = schemas.Conflict{Platform: "secret"} }},
		"Event.Data.Path": {
			func(e *schemas.Event) { e.Data = schemas.Drift{Platform: "secret"} },
			func(e *schemas.Event) { e.Data = schemas.Drift{Platform: "p", Path: long} },
		},
	} {
		for i, spoil := range spoils {
			e := settled()
			spoil(&e)
			err := e.Validate()
			if !errors.Is(err, schemas.ErrInvalid) {
				t.Errorf("%s, case %d: %v, want ErrInvalid", field, i, err)
				continue
			}
			if !strings.Contains(err.Error(), field+" ") {
				t.Errorf("%s, case %d: the error names another field: %v", field, i, err)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "0f7c2f5e") {
				t.Errorf("%s, case %d: the error quotes a value: %v", field, i, err)
			}
		}
	}
}

func TestValidateTakesTheLongestAndTheUnusual(t *testing.T) {
	for name, change := range map[string]func(*schemas.Event){
		"as long as allowed": func(e *schemas.Event) {
			e.ID, e.Key = strings.Repeat("i", 512), strings.Repeat("ü", 200)
		},
		"every character of an id": func(e *schemas.Event) { e.ID = "aZ09:._=-" },
		"a key of odd characters":  func(e *schemas.Event) { e.Key = "a b/\r\n*>" },
		"an offset":                func(e *schemas.Event) { e.Time = "2024-02-29T23:59:59.123456789-05:30" },
		"an unknown status": func(e *schemas.Event) {
			e.Type, e.Unknown = schemas.ProcessReported, true
			e.Data = schemas.Process{Platform: "p", ProcessID: "x", NativeStatus: "Melted ☂", Affects: map[string][]string{}}
		},
		"a block of 0": func(e *schemas.Event) {
			e.Data = schemas.Process{
				Platform: "p", ProcessID: "x", NativeStatus: "s", Affects: map[string][]string{},
				Ledger: &schemas.Ledger{Block: ptr(int64(0))},
			}
		},
	} {
		e := settled()
		change(&e)
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIsTimeTakesOnlyWhatEveryConsumerCanRead(t *testing.T) {
	for s, want := range map[string]bool{
		"2026-03-02T08:15:30Z":           true,
		"2026-03-02T08:15:30.000000001Z": true,
		"2026-03-02T08:15:30+23:59":      true,
		"2026-03-02T08:15:30-00:00":      true,
		"2024-02-29T00:00:00Z":           true,
		"":                               false,
		"2026-03-02":                     false,
		"2026-03-02T08:15:30":            false,
		"2026-03-02 08:15:30Z":           false,
		"2026-03-02t08:15:30z":           false,
		"2026-03-02T08:15:30,5Z":         false,
		"2026-03-02T8:15:30Z":            false,
		"2026-03-02T08:15:30+24:00":      false,
		"2026-03-02T08:15:30+0100":       false,
		"2026-03-02T08:15:30.Z":          false,
		"2026-02-29T00:00:00Z":           false,
		"2026-12-31T23:59:60Z":           false,
		"2026-03-02T24:00:00Z":           false,
		" 2026-03-02T08:15:30Z":          false,
		"2026-03-02T08:15:30Z\n":         false,
		"+2026-03-02T08:15:30Z":          false,
	} {
		if got := schemas.IsTime(s); got != want {
			t.Errorf("IsTime(%q) = %v, want %v", s, got, want)
		}
	}
}

// rfc3339 is the form of RFC 3339, section 5.6, without leap seconds and with
// its letters in upper case.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func TestIsTimeFollowsTheGrammar(t *testing.T) {
	// Most of these are times, some nearly, and none has an impossible date.
	nearly := rapid.StringMatching(`20[0-9]{2}-0[1-9]-[12][0-8][Tt ][0-2]?[0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,12})?(Z|z|[+-][0-2][0-9]:?[0-6][0-9])?.?`)
	rapid.Check(t, func(t *rapid.T) {
		s := nearly.Draw(t, "time")
		if got, want := schemas.IsTime(s), rfc3339.MatchString(s); got != want {
			t.Fatalf("IsTime(%q) = %v, want %v", s, got, want)
		}
	})
}

func TestFormatTimeIsUTCInMilliseconds(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 30, 0, 999999, time.FixedZone("", 3600))
	if got, want := schemas.FormatTime(at), "2025-12-31T23:30:00.000Z"; got != want || !schemas.IsTime(got) {
		t.Errorf("FormatTime = %q, want %q", got, want)
	}
}

func TestDefinitionsNameEveryTypeOnce(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)
	var types []schemas.Type
	for _, d := range schemas.Definitions() {
		types = append(types, d.Type)
		if !name.MatchString(string(d.Type)) || d.Type.Entity()+"."+d.Type.Event() != string(d.Type) {
			t.Errorf("%q is not entity.event in subject tokens", d.Type)
		}
		if !d.Type.Known() || d.Data == nil || !strings.HasSuffix(d.Meaning, ".") {
			t.Errorf("%s is not fully defined: %+v", d.Type, d)
		}
		want := schemas.StreamEvents
		if e := d.Type.Entity(); e == "platform" || e == "operator" {
			want = schemas.StreamOps
		}
		if d.Type.Stream() != want {
			t.Errorf("%s is kept by %s, want %s", d.Type, d.Type.Stream(), want)
		}
	}
	if !slices.IsSorted(types) || len(slices.Compact(types)) != len(schemas.Definitions()) {
		t.Errorf("types are not sorted or one is there twice: %q", types)
	}
	for _, unknown := range []schemas.Type{"", "process", "process.", "process.succeeded.v1", "Process.Succeeded"} {
		if unknown.Known() {
			t.Errorf("%q is known", unknown)
		}
	}
}

func anyEvent(t *rapid.T) schemas.Event {
	text := rapid.String()
	data := anyProcess(t)
	types := []schemas.Type{schemas.ProcessQueued, schemas.ProcessSucceeded, schemas.ProcessReported}
	e := schemas.Event{
		ID:            rapid.StringMatching(`[A-Za-z0-9:._=-]{1,60}`).Draw(t, "event id"),
		Source:        rapid.StringMatching(`[a-z0-9-]{1,32}`).Draw(t, "source"),
		Type:          rapid.SampledFrom(types).Draw(t, "event type"),
		Key:           data.ProcessID,
		Time:          "2026-03-02T08:15:30Z",
		Recorded:      time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "recorded")),
		Sequence:      text.Draw(t, "sequence"),
		DeliveryID:    text.Draw(t, "delivery") + "d",
		CorrelationID: text.Draw(t, "correlation"),
		Channel:       schemas.ChannelPush,
		Unknown:       rapid.Bool().Draw(t, "unknown"),
		Data:          data,
	}
	if rapid.Bool().Draw(t, "twin") {
		native, err := json.Marshal(rapid.MapOf(text, text).Draw(t, "native"))
		if err != nil {
			t.Fatal(err)
		}
		e.Restricted = &schemas.Restricted{Native: native, Personal: rapid.SliceOf(text).Draw(t, "personal")}
	}
	return e
}

func TestMessagesOfAnyValidEventAreStrictJSONAndFitTheirSize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := anyEvent(rt)
		if e.Validate() != nil {
			rt.Skip("not valid")
		}
		ms, err := e.Messages()
		if err != nil {
			rt.Fatalf("Messages: %v", err)
		}
		for _, m := range ms {
			var body struct {
				ID   string                    `json:"id"`
				Data map[string]jsontext.Value `json:"data"`
			}
			if err := json.Unmarshal(m.Body, &body); err != nil {
				rt.Fatalf("%s: %v", m.Body, err)
			}
			if body.ID != m.ID || len(m.Header["Nats-Msg-Id"]) != 1 || m.Header["Nats-Msg-Id"][0] != m.ID {
				rt.Fatalf("ids differ: body %q, message %q, header %q", body.ID, m.ID, m.Header["Nats-Msg-Id"])
			}
			if _, flagged := body.Data["known"]; flagged != e.Unknown {
				rt.Fatalf("unknown is %v: %s", e.Unknown, m.Body)
			}
			if got, want := m.Size(), wire(t, m); got != want {
				rt.Fatalf("Size() = %d, want %d", got, want)
			}
			for _, token := range strings.Split(m.Subject, ".") {
				if !legalToken.MatchString(token) {
					rt.Fatalf("subject %q has the token %q", m.Subject, token)
				}
			}
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add("key", "status", "assetIds", []byte(`{"a":1}`))
	f.Add("k\r\n", "\x00", "=;", []byte(`{"a":1,"a":2}`))
	f.Add("\xff", "é", "", []byte(`1,"b":2`))
	f.Fuzz(func(t *testing.T, key, status, list string, native []byte) {
		e := settled()
		e.Key = key
		p := schemas.Process{Platform: "p", ProcessID: key, NativeStatus: status, Affects: map[string][]string{list: {key}}}
		e.Data = p
		e.Restricted = &schemas.Restricted{Native: native}
		if e.Validate() != nil {
			return
		}
		ms, err := e.Messages()
		if err != nil {
			if !errors.Is(err, schemas.ErrUnpublishable) {
				t.Fatal(err)
			}
			return
		}
		for _, m := range ms {
			var body struct {
				Data map[string]jsontext.Value `json:"data"`
			}
			if err := json.Unmarshal(m.Body, &body); err != nil {
				t.Fatalf("%s: %v", m.Body, err)
			}
			if n := len(body.Data); n > 10 {
				t.Fatalf("native brought %d members: %s", n, m.Body)
			}
			if m.Size() != wire(t, m) {
				t.Fatalf("Size() = %d, want %d", m.Size(), wire(t, m))
			}
		}
	})
}
