package schemas_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/schemas"
)

func ptr[T any](v T) *T { return &v }

// settled is an event with everything that a push can say.
func settled() schemas.Event {
	return schemas.Event{
		ID:            "corastone:process:0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11:success",
		Source:        "corastone",
		Type:          schemas.ProcessSucceeded,
		Key:           "0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11",
		Time:          "2026-03-02T08:15:30.5Z",
		Recorded:      time.Date(2026, 3, 2, 9, 15, 31, 7e6, time.FixedZone("", 3600)),
		Sequence:      "northg2:0000000000000417",
		DeliveryID:    "d-0001",
		CorrelationID: "orc-9",
		Channel:       schemas.ChannelPush,
		Data: schemas.Process{
			Platform:     "corastone",
			ProcessID:    "0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11",
			Method:       "settleSubscription",
			NativeType:   "lifecycle",
			NativeStatus: "success",
			OrgID:        ptr("ORG7"),
			Ledger:       &schemas.Ledger{Channel: "NorthG2", Block: ptr(int64(417)), TransactionID: "ab12"},
			Affects:      map[string][]string{"securityIds": {"SEC1"}, "assetIds": {"B", "A"}},
		},
	}
}

func messages(t *testing.T, e schemas.Event) []schemas.Message {
	t.Helper()
	if err := e.Validate(); err != nil {
		t.Fatalf("Validate: %v", err)
	}
	ms, err := e.Messages()
	if err != nil {
		t.Fatalf("Messages: %v", err)
	}
	return ms
}

const settledBody = `{"specversion":"1.0","id":"corastone:process:0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11:success",` +
	`"source":"/postern/corastone","type":"postern.process.succeeded.v1",` +
	`"subject":"process/0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11","time":"2026-03-02T08:15:30.5Z",` +
	`"recordedtime":"2026-03-02T08:15:31.007Z","datacontenttype":"application/json",` +
	`"dataschema":"urn:postern:schema:process.succeeded.v1","sequence":"northg2:0000000000000417",` +
	`"deliveryid":"d-0001","correlationid":"orc-9",` +
	`"data":{"platform":"corastone","processId":"0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11","orchestrationId":null,` +
	`"method":"settleSubscription","nativeType":"lifecycle","nativeStatus":"success","orgId":"ORG7",` +
	`"ledger":{"channel":"NorthG2","block":417,"transactionId":"ab12"},` +
	`"affects":{"assetIds":["B","A"],"securityIds":["SEC1"]}}}`

func TestMessagesPrintsAnEventAsTheContractSays(t *testing.T) {
	ms := messages(t, settled())
	if len(ms) != 1 {
		t.Fatalf("%d messages, want 1", len(ms))
	}
	m := ms[0]
	if diff := cmp.Diff(settledBody, string(m.Body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if m.Stream != schemas.StreamEvents {
		t.Errorf("stream %q", m.Stream)
	}
	if want := "postern.events.corastone.process.succeeded.0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11"; m.Subject != want {
		t.Errorf("subject %q, want %q", m.Subject, want)
	}
	if m.ID != settled().ID {
		t.Errorf("id %q", m.ID)
	}
	facets := m.Header["postern-facets"]
	delete(m.Header, "postern-facets")
	want := map[string][]string{
		"Nats-Msg-Id":     {"corastone:process:0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11:success"},
		"content-type":    {"application/cloudevents+json"},
		"ce-id":           {"corastone:process:0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11:success"},
		"ce-type":         {"postern.process.succeeded.v1"},
		"ce-source":       {"/postern/corastone"},
		"ce-subject":      {"process/0f7c2f5e-6f0b-4a53-9d4b-2f1f0a6f7c11"},
		"ce-time":         {"2026-03-02T08:15:30.5Z"},
		"postern-channel": {"push"},
	}
	if diff := cmp.Diff(want, m.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if len(facets) != 1 || !cmp.Equal(schemas.ParseFacets(facets[0]), settled().Data.Facets()) {
		t.Errorf("postern-facets %q are not the facets of the data", facets)
	}
}

func TestMessagesLeavesOutWhatIsUnknown(t *testing.T) {
	e := settled()
	e.Sequence, e.CorrelationID = "", ""
	e.Data = schemas.Job{Platform: "corastone"}
	e.Type = schemas.JobReported
	body := string(messages(t, e)[0].Body)
	for _, name := range []string{"sequence", "correlationid", "causationid", "known", "restricted"} {
		if strings.Contains(body, `"`+name+`"`) {
			t.Errorf("body has %s: %s", name, body)
		}
	}
	e.CausationID = "corastone:process:x:success"
	if body := string(messages(t, e)[0].Body); !strings.Contains(body, `"causationid":"corastone:process:x:success"`) {
		t.Errorf("body lacks causationid: %s", body)
	}
	if header := messages(t, e)[0].Header; header["postern-facets"] != nil {
		t.Errorf("facets of data that has none: %q", header["postern-facets"])
	}
}

func TestMessagesFlagsUnknownValues(t *testing.T) {
	e := settled()
	e.Unknown = true
	body := string(messages(t, e)[0].Body)
	if want := strings.TrimSuffix(settledBody, "}}") + `,"known":false}}`; body != want {
		t.Errorf("body\n%s\nwant\n%s", body, want)
	}
}

func TestMessagesPutsOnTheTwinWhatNotEverybodyMaySee(t *testing.T) {
	e := settled()
	e.Unknown = true
	e.Restricted = &schemas.Restricted{
		Personal: struct {
			Name string `json:"name"`
		}{"Ada Example"},
		Native: jsontext.Value(`{ "who": "\u0041da\/", "price": 1.20, "n": 1e3 }`),
	}
	ms := messages(t, e)
	if len(ms) != 2 {
		t.Fatalf("%d messages, want 2", len(ms))
	}
	open, twin := ms[0], ms[1]
	data := strings.TrimSuffix(settledBody, "}}") + `,"known":false`
	if want := data + `,"restricted":true}}`; string(open.Body) != want {
		t.Errorf("open body\n%s\nwant\n%s", open.Body, want)
	}
	want := data + `,"personal":{"name":"Ada Example"},"native":{"who":"\u0041da\/","price":1.20,"n":1e3}}}`
	want = strings.Replace(want, e.ID, e.ID+":restricted", 1)
	if diff := cmp.Diff(want, string(twin.Body)); diff != "" {
		t.Errorf("twin body (-want +got):\n%s", diff)
	}
	if twin.Stream != schemas.StreamRestricted || twin.ID != e.ID+":restricted" {
		t.Errorf("twin is %q on %q", twin.ID, twin.Stream)
	}
	if want := strings.Replace(open.Subject, "postern.events.", "postern.restricted.", 1); twin.Subject != want {
		t.Errorf("twin's subject %q, want %q", twin.Subject, want)
	}
	for _, name := range []string{"Nats-Msg-Id", "ce-id"} {
		if got := twin.Header[name]; !cmp.Equal(got, []string{twin.ID}) {
			t.Errorf("twin's %s is %q, want its id", name, got)
		}
	}
	for _, name := range []string{"ce-type", "ce-source", "ce-subject", "ce-time"} {
		if !cmp.Equal(open.Header[name], twin.Header[name]) {
			t.Errorf("%s differs: %q and %q", name, open.Header[name], twin.Header[name])
		}
	}
}

func TestMessagesGivesATwinWithoutPersonalOrNativeToo(t *testing.T) {
	e := settled()
	e.Data, e.Type = schemas.Job{Platform: "corastone"}, schemas.JobReported
	for name, r := range map[string]schemas.Restricted{
		`{"platform":"corastone"}`:                        {},
		`{"platform":"corastone","native":null}`:          {Native: jsontext.Value("null")},
		`{"platform":"corastone","native":["a",{}]}`:      {Native: jsontext.Value(`["a",{}]`)},
		`{"platform":"corastone","personal":{"a":["b"]}}`: {Personal: map[string][]string{"a": {"b"}}},
	} {
		e.Restricted = &r
		var body struct {
			Data jsontext.Value `json:"data"`
		}
		if err := json.Unmarshal(messages(t, e)[1].Body, &body); err != nil {
			t.Fatal(err)
		}
		if got := string(body.Data); got != name {
			t.Errorf("twin's data %s, want %s", got, name)
		}
	}
}

func TestMessagesRefusesWhatIsNotJSONAndSaysNothingOfIt(t *testing.T) {
	for name, spoil := range map[string]func(*schemas.Event){
		"key not UTF-8": func(e *schemas.Event) { e.Key = "hidden\xff" },
		"data not UTF-8": func(e *schemas.Event) {
			e.Data = schemas.Process{Affects: map[string][]string{"hidden": {"\xff"}}}
		},
		"native not UTF-8":      func(e *schemas.Event) { e.Restricted = &schemas.Restricted{Native: jsontext.Value("\"hidden\xff\"")} },
		"native is empty":       func(e *schemas.Event) { e.Restricted = &schemas.Restricted{Native: jsontext.Value{}} },
		"native is cut":         func(e *schemas.Event) { e.Restricted = &schemas.Restricted{Native: jsontext.Value(`{"hidden":`)} },
		"native has two":        func(e *schemas.Event) { e.Restricted = &schemas.Restricted{Native: jsontext.Value(`{}{}`)} },
		"native brings members": func(e *schemas.Event) { e.Restricted = &schemas.Restricted{Native: jsontext.Value(`1,"hidden":2`)} },
		"native says a name twice": func(e *schemas.Event) {
			e.Restricted = &schemas.Restricted{Native: jsontext.Value(`{"hidden":1,"hidden":2}`)}
		},
		"personal is no JSON": func(e *schemas.Event) {
			e.Restricted = &schemas.Restricted{Personal: map[string]any{"hidden": make(chan int)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := settled()
			spoil(&e)
			ms, err := e.Messages()
			if !errors.Is(err, schemas.ErrUnpublishable) || ms != nil {
				t.Fatalf("%d messages and error %v, want none and ErrUnpublishable", len(ms), err)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes the event: %v", err)
			}
		})
	}
}

func TestMessagesEncodesTheSubjectHeader(t *testing.T) {
	for key, want := range map[string]string{
		"plain-1":     "process/plain-1",
		"a b":         "process/a%20b",
		`50%"`:        "process/50%25%22",
		"Zoë":         "process/Zo%C3%AB",
		"line\r\nX:1": "process/line%0D%0AX:1",
		"\x7f~":       "process/%7F~",
	} {
		e := settled()
		e.Key = key
		m := messages(t, e)[0]
		if got := m.Header["ce-subject"]; !cmp.Equal(got, []string{want}) {
			t.Errorf("key %q: ce-subject %q, want %q", key, got, want)
		}
		if got, want := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], schemas.Token(key); got != want {
			t.Errorf("key %q: subject ends with %q, want %q", key, got, want)
		}
		var body struct {
			Subject string `json:"subject"`
		}
		if err := json.Unmarshal(m.Body, &body); err != nil || body.Subject != "process/"+key {
			t.Errorf("key %q: body's subject %q, %v", key, body.Subject, err)
		}
	}
}

func TestPlatformEventsGoToTheOpsStream(t *testing.T) {
	e := settled()
	e.Type, e.Key = schemas.PlatformSchemaDrift, "transaction.status"
	e.Data = schemas.Drift{Platform: "corastone", Path: "transaction.status", Value: ptr("melted")}
	m := messages(t, e)[0]
	if m.Stream != schemas.StreamOps || m.Subject != "postern.ops.corastone.schema_drift" {
		t.Errorf("published as %q on %q", m.Subject, m.Stream)
	}
}

// wire is what a client sends: the header block as NATS writes it (client
// protocol, HPUB), and the body.
func wire(t *testing.T, m schemas.Message) int {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	if err := http.Header(m.Header).Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\r\n")
	return b.Len() + len(m.Body)
}

func TestSizeIsWhatTheServerCounts(t *testing.T) {
	e := settled()
	e.Restricted = &schemas.Restricted{Native: jsontext.Value(`{"a":"ü"}`)}
	all := append(messages(t, e), record().Raw(), record().Quarantine(schemas.ReasonPanic))
	for _, m := range all {
		if got, want := m.Size(), wire(t, m); got != want {
			t.Errorf("%s: Size() = %d, want %d", m.Subject, got, want)
		}
	}
}

func TestMessagesAreTheSameEveryTime(t *testing.T) {
	build := func() []schemas.Message {
		e := settled()
		affects := map[string][]string{}
		for _, name := range []string{"g", "c", "a", "f", "b", "e", "d"} {
			affects[name+"Ids"] = []string{name}
		}
		p := e.Data.(schemas.Process)
		p.Affects = affects
		e.Data = p
		e.Restricted = &schemas.Restricted{Personal: affects}
		return messages(t, e)
	}
	want := build()
	for range 50 {
		if diff := cmp.Diff(want, build()); diff != "" {
			t.Fatalf("the same event gave other messages (-first +later):\n%s", diff)
		}
	}
}

func TestAffectsIsAnObjectEvenWhenEmpty(t *testing.T) {
	e := settled()
	p := e.Data.(schemas.Process)
	p.Affects = map[string][]string{}
	e.Data = p
	if body := string(messages(t, e)[0].Body); !strings.Contains(body, `"affects":{}`) {
		t.Errorf("no affects {} in %s", body)
	}
	p.Affects = map[string][]string{"assetIds": nil}
	e.Data = p
	if body := string(messages(t, e)[0].Body); !strings.Contains(body, `"affects":{"assetIds":[]}`) {
		t.Errorf("a list without ids is not [] in %s", body)
	}
	p.Affects = nil
	e.Data = p
	if err := e.Validate(); !errors.Is(err, schemas.ErrInvalid) {
		t.Errorf("Validate of a process without affects: %v, want ErrInvalid", err)
	}
}
