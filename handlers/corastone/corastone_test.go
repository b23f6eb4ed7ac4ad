package corastone_test

import (
	"bytes"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// received is when everything arrives in these tests, and sent when it was
// sent.
var (
	received = time.Date(2026, 2, 3, 4, 5, 8, 123e6, time.UTC)
	sent     = "2026-02-03T04:05:06.789Z"
)

// TestWebhook tests each way to authenticate. A way changes nothing of what an
// entry becomes, so that few recordings do for all but one.
func TestWebhook(t *testing.T) {
	sns := newSNS(t)
	knows := func(r handlers.Request) handlers.Request {
		r.Header.Set("X-Push-Secret", secret)
		return r
	}
	for name, c := range map[string]handlerstest.Case{
		"pinned": {
			Settings: settings(t),
			Push:     func(t *testing.T, recorded []byte) handlers.Request { return request(sign(t, envelope(recorded))) },
		},
		"required": {
			Settings: sns.settings(t),
			Means:    sns.means(),
			Dir:      "testdata/few",
			Push:     func(t *testing.T, recorded []byte) handlers.Request { return request(sns.sign(t, envelope(recorded))) },
		},
		"header": {
			Settings: headerSettings(t),
			Dir:      "testdata/few",
			Push:     func(_ *testing.T, recorded []byte) handlers.Request { return knows(request(envelope(recorded))) },
			Required: []string{"X-Push-Secret"},
			Unsigned: true,
		},
		"off": {
			Settings: offSettings(t),
			Dir:      "testdata/few",
			Push:     func(_ *testing.T, recorded []byte) handlers.Request { return request(envelope(recorded)) },
			Unsigned: true,
		},
		"header, bare": {
			Settings: headerSettings(t),
			Dir:      "testdata/few",
			Push:     func(_ *testing.T, recorded []byte) handlers.Request { return knows(bare(recorded)) },
			Payload:  func(recorded []byte) []byte { return recorded },
			Required: []string{"X-Push-Secret"},
			Unsigned: true,
		},
	} {
		c.Platform = corastone.Platform()
		if c.Dir == "" {
			c.Dir = "testdata"
		}
		if c.Payload == nil {
			c.Payload = func(recorded []byte) []byte { return envelope(recorded).Body() }
		}
		t.Run(name, func(t *testing.T) { handlerstest.Webhook(t, c) })
	}
}

// envelope wraps what was recorded, unless it is an envelope: confirmations
// are.
func envelope(recorded []byte) corastonetest.Envelope {
	var e struct {
		Type, Token, TopicArn, Message, Timestamp, SubscribeURL, SubscribeUrl string
		MessageID                                                             string `json:"MessageId"`
	}
	if json.Unmarshal(recorded, &e) != nil || e.Type == "" {
		return notification(string(recorded))
	}
	return corastonetest.Envelope{
		Type: e.Type, MessageID: e.MessageID, Token: e.Token, TopicARN: e.TopicArn,
		Message: e.Message, Timestamp: e.Timestamp, SubscribeURL: e.SubscribeURL + e.SubscribeUrl,
	}
}

// notification wraps an entry, always into the same envelope.
func notification(entry string) corastonetest.Envelope {
	subject := "Success Reconciliation on Process"
	return corastonetest.Envelope{
		Type:      corastonetest.TypeNotification,
		MessageID: "6f1d9a30-2b4c-5d6e-8f70-8192a3b4c5d6",
		TopicARN:  corastonetest.Topic,
		Subject:   &subject,
		Message:   entry,
		Timestamp: sent,
	}
}

func signer(t testing.TB) *corastonetest.Signer {
	t.Helper()
	s, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, e corastonetest.Envelope) corastonetest.Envelope {
	t.Helper()
	signed, err := signer(t).Sign(e)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func request(e corastonetest.Envelope) handlers.Request {
	p := e.Push()
	return handlers.Request{Header: p.Header, Body: p.Body, Received: received}
}

func certificate(path string, data []byte) handlers.File {
	return handlers.File{Path: path, Contents: []handlers.Contents{{Path: path, Data: data}}}
}

// settings are good ones.
func settings(t testing.TB) *corastone.Settings {
	t.Helper()
	s, ok := corastone.Platform().Settings().(*corastone.Settings)
	if !ok {
		t.Fatal("Settings returns something else than *corastone.Settings")
	}
	s.Push.Allow = []handlers.Prefix{{Prefix: netip.MustParsePrefix("127.0.0.7/32")}}
	s.Push.Topics = []string{corastonetest.Topic}
	s.Push.Signature = corastone.SignaturePinned
	s.Push.Certificates = []handlers.File{certificate("sns.pem", signer(t).Certificate())}
	return s
}

func open(t testing.TB, s *corastone.Settings) handlers.Webhook {
	t.Helper()
	return openWith(t, s, handlers.Means{})
}

func openWith(t testing.TB, s *corastone.Settings, means handlers.Means) handlers.Webhook {
	t.Helper()
	source, err := corastone.Platform().Open("corastone", s, means)
	if err != nil {
		t.Fatal(err)
	}
	return source.Push.Webhook
}

func delivery(role string, payload []byte) handlers.Delivery {
	at, _ := time.Parse(time.RFC3339, sent)
	return handlers.Delivery{
		ID: "delivery-1", Source: "corastone", Platform: corastone.Name, Channel: schemas.ChannelPush,
		Role: role, Received: received, Sent: at, Payload: payload,
	}
}

// TestBodyIsAsTheContractPrintsIt compares the whole body, byte by byte, with
// the one that subscribers were promised, for an entry of the documented shape.
func TestBodyIsAsTheContractPrintsIt(t *testing.T) {
	entry, err := os.ReadFile("testdata/process_succeeded.json")
	if err != nil {
		t.Fatal(err)
	}
	d := delivery(corastone.RoleNotification, request(sign(t, notification(string(entry)))).Body)
	out, err := corastone.Platform().Normalize(d)
	if err != nil || len(out.Events) != 1 || len(out.Drift) != 0 {
		t.Fatalf("%d events, %d drift, %v", len(out.Events), len(out.Drift), err)
	}
	messages, err := out.Events[0].Messages()
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	want := `{"specversion":"1.0","id":"corastone:process:c3a91f52-6f0b-4b7e-8a55-0d1e2f3a4b5c:success",` +
		`"source":"/postern/corastone","type":"postern.process.succeeded.v1","subject":"process/c3a91f52-6f0b-4b7e-8a55-0d1e2f3a4b5c",` +
		`"time":"2026-02-03T04:04:57.412Z","recordedtime":"2026-02-03T04:05:08.123Z","datacontenttype":"application/json",` +
		`"dataschema":"urn:postern:schema:process.succeeded.v1","sequence":"northg2:0000000000048113","deliveryid":"delivery-1",` +
		`"data":{"platform":"corastone","processId":"c3a91f52-6f0b-4b7e-8a55-0d1e2f3a4b5c","orchestrationId":null,` +
		`"method":"createInvestment","nativeType":"issuance","nativeStatus":"success",` +
		`"orgId":null,"ledger":{"channel":"northg2","block":48113,"transactionId":"9be1f0c2d4a6e8071325394b5d6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081"},"affects":{"assetIds":["NRTH7K2LQ0ZX"]}}}`
	if got := string(messages[0].Body); got != want {
		t.Errorf("body\n%s\nwant\n%s", got, want)
	}
	if want := "postern.events.corastone.process.succeeded.c3a91f52-6f0b-4b7e-8a55-0d1e2f3a4b5c"; messages[0].Subject != want {
		t.Errorf("subject %s, want %s", messages[0].Subject, want)
	}
}

func TestBareEntryBecomesWhatItWouldInAnEnvelope(t *testing.T) {
	for _, file := range []string{"process_with_everything", "process_unknown_members", "orchestration_failed", "error_with_query", "job", "list"} {
		entry, err := os.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		inside := bodies(t, delivery(corastone.RoleNotification, request(notification(string(entry))).Body))
		bare := bodies(t, delivery(corastone.RoleEntry, entry))
		if inside != bare {
			t.Errorf("%s: in an envelope\n%s\nbare\n%s", file, inside, bare)
		}
	}
}

func bodies(t *testing.T, d handlers.Delivery) string {
	t.Helper()
	out, err := corastone.Platform().Normalize(d)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range out.Events {
		messages, err := e.Messages()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			b.Write(append(m.Body, '\n'))
		}
	}
	return b.String()
}

// TestTwinSaysAllThatThePlatformSaid: what is kept from the open event is not
// lost.
func TestTwinSaysAllThatThePlatformSaid(t *testing.T) {
	for _, file := range []string{"process_unknown_members", "process_odd_details", "process_odd_time", "error_with_query", "error_with_details", "job"} {
		entry, err := os.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		given := bytes.Clone(entry)
		out, err := corastone.Platform().Normalize(delivery(corastone.RoleEntry, given))
		if err != nil {
			t.Fatal(err)
		}
		if out.Events[0].Restricted == nil {
			t.Errorf("%s: no twin", file)
			continue
		}
		clear(given) // nobody may keep the payload
		got := out.Events[0].Restricted.Native
		want := jsontext.Value(entry)
		if err := want.Compact(); err != nil {
			t.Fatal(err)
		}
		if err := got.Compact(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: twin says\n%s\nplatform said\n%s", file, got, want)
		}
	}
}

func TestSameJobHasTheSameIDHoweverItIsWritten(t *testing.T) {
	ids := map[string]bool{}
	for _, file := range []string{"job", "job_same_in_other_words"} {
		entry, err := os.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		out, err := corastone.Platform().Normalize(delivery(corastone.RoleEntry, entry))
		if err != nil {
			t.Fatal(err)
		}
		ids[out.Events[0].ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("ids %v", ids)
	}
}

func TestUnknownRoleIsUnusable(t *testing.T) {
	e := sign(t, notification(`{"error":{"errorId":"a"}}`))
	for _, role := range []string{"", "other", corastone.RoleConfirmation, corastone.RoleUnsubscribe} {
		if _, err := corastone.Platform().Normalize(delivery(role, e.Body())); err == nil {
			t.Errorf("role %q: a notification was taken for it", role)
		}
	}
}

// TestSecretsOfASubscriptionAreToldToNobody: who has them can end or start it.
func TestSecretsOfASubscriptionAreToldToNobody(t *testing.T) {
	for _, typ := range []string{corastonetest.TypeSubscriptionConfirmation, corastonetest.TypeUnsubscribeConfirmation} {
		e := corastonetest.NewNode(signer(t), corastonetest.Topic, 7).Confirmation(typ)
		r := request(sign(t, e))
		a, err := open(t, settings(t)).Authenticate(handlers.Request{Header: http.Header{}, Body: r.Body, Received: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		d := delivery(a.Role, r.Body)
		if told := bodies(t, d); strings.Contains(told, e.Token) || strings.Contains(told, "sns.invalid") {
			t.Errorf("%s: told %s", typ, told)
		}
	}
}

func TestWithoutAnyTimeItIsThatOfTheTelling(t *testing.T) {
	d := delivery(corastone.RoleEntry, []byte(`{"error":{"errorId":"a"}}`))
	for _, at := range []time.Time{d.Sent, {}} {
		d.Sent = at
		out, err := corastone.Platform().Normalize(d)
		if err != nil {
			t.Fatal(err)
		}
		want := schemas.FormatTime(at)
		if at.IsZero() {
			want = schemas.FormatTime(received)
		}
		if got := out.Events[0].Time; got != want {
			t.Errorf("time %s, want %s", got, want)
		}
	}
}
