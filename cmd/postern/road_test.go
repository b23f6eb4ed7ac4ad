package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// investment is a transaction of the documented shape, with values of our own.
func investment(processID string) corastonetest.Process {
	return corastonetest.Process{
		ProcessID: processID, Status: "success", Type: "issuance", Method: "createInvestment",
		Timestamp: "2026-03-02T08:15:30.250Z",
		BlockchainDetails: &corastonetest.Place{
			BlockNumber: 4711, ChannelName: "Wealth1", TransactionID: "9c1f0e6b7d2a4c5e8f30112233445566778899aabbccddeeff00112233445566",
		},
		Details: map[string][]string{"assetIds": {"WLTH7Q2MNB4X"}},
	}
}

func TestPushArrivesAsPromised(t *testing.T) {
	r := newReceiver(t, "")
	r.startBroker()
	events := subscribe(t, connect(t, r.broker))
	node := nodeOf(t, 1)

	const process = "4b7e1a52-93d0-4c6f-8a1e-2f5b6c7d8e90"
	first := node.Notification(investment(process))
	status, id := r.pushed(signed(t, first))
	if status != http.StatusOK || id == "" {
		t.Fatalf("the push was answered %d with id %q", status, id)
	}
	m := next(t, events)
	if want := "postern.events.corastone.process.succeeded." + process; m.Subject() != want {
		t.Errorf("subject is %s, want %s", m.Subject(), want)
	}
	eventID := "corastone:process:" + process + ":success"
	for name, want := range map[string]string{
		"Nats-Msg-Id": eventID, "content-type": "application/cloudevents+json", "ce-id": eventID,
		"ce-type": "postern.process.succeeded.v1", "ce-source": "/postern/corastone",
		"ce-subject": "process/" + process, "ce-time": "2026-03-02T08:15:30.250Z", "postern-channel": "push",
	} {
		if got := m.Headers()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	var body map[string]any
	if err := json.Unmarshal(m.Data(), &body); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, body["recordedtime"].(string)); err != nil {
		t.Error("recordedtime:", err)
	}
	want := `{"specversion":"1.0","id":"` + eventID + `","source":"/postern/corastone","type":"postern.process.succeeded.v1",` +
		`"subject":"process/` + process + `","time":"2026-03-02T08:15:30.250Z","recordedtime":"` + body["recordedtime"].(string) + `",` +
		`"datacontenttype":"application/json","dataschema":"urn:postern:schema:process.succeeded.v1",` +
		`"sequence":"wealth1:0000000000004711","deliveryid":"` + id + `","data":{"platform":"corastone","processId":"` + process + `",` +
		`"orchestrationId":null,"method":"createInvestment","nativeType":"issuance","nativeStatus":"success","orgId":null,` +
		`"ledger":{"channel":"Wealth1","block":4711,"transactionId":"9c1f0e6b7d2a4c5e8f30112233445566778899aabbccddeeff00112233445566"},` +
		`"affects":{"assetIds":["WLTH7Q2MNB4X"]}}}`
	if diff := cmp.Diff(want, string(m.Data())); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}

	t.Run("repeats are answered 200 and told no more", func(t *testing.T) {
		if status, again := r.pushed(signed(t, first)); status != http.StatusOK || again != id {
			t.Errorf("the same push was answered %d with id %q, want 200 with %q", status, again, id)
		}
		moved := first
		moved.UnsubscribeURL = "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x"
		if status, again := r.pushed(signed(t, moved)); status != http.StatusOK || again != id {
			t.Errorf("with another UnsubscribeURL it was answered %d with id %q, want 200 with %q", status, again, id)
		}
		if status, other := r.pushed(signed(t, node.Notification(investment(process)))); status != http.StatusOK || other == id {
			t.Errorf("the same fact in another message was answered %d with id %q", status, other)
		}
		r.relayed("duplicate", 1)
	})

	t.Run("what is not authentic is refused", func(t *testing.T) {
		flipped := signed(t, node.Notification(investment("forged-1")))
		flipped.Body = []byte(strings.Replace(string(flipped.Body), "forged-1", "forged-2", 1))
		foreign := node.Notification(investment("foreign"))
		foreign.TopicARN = "arn:aws:sns:eu-central-1:999900001111:another"
		for name, push := range map[string]corastonetest.Push{"a flipped bit": flipped, "another topic": signed(t, foreign)} {
			if status, _ := r.pushed(push); status != http.StatusForbidden {
				t.Errorf("%s was answered %d, want 403", name, status)
			}
		}
		a, err := r.pusher("127.0.0.8").Push(t.Context(), signed(t, node.Notification(investment("stranger"))))
		if a.Status != http.StatusForbidden {
			t.Errorf("a caller off the list was answered %d (%v), want 403", a.Status, err)
		}
	})

	t.Run("unusable is kept and nothing stops", func(t *testing.T) {
		other := first
		other.Message = strings.Replace(first.Message, "success", "failed", 1)
		other.Subject = nil
		if status, _ := r.pushed(signed(t, other)); status != http.StatusOK {
			t.Errorf("another content under the same MessageId was answered %d, want 200", status)
		}
		if status, _ := r.pushed(signed(t, node.Notification(investment("")))); status != http.StatusOK {
			t.Errorf("an empty processId was answered %d, want 200", status)
		}
		r.relayed("quarantined", 2)
		for _, reason := range []string{"conflict", "invalid_event"} {
			name := `postern_quarantined_total{reason="` + reason + `",source="corastone"}`
			if got := r.metric(name); got != "1" {
				t.Errorf("%s is %q, want 1", name, got)
			}
		}
	})

	if status, _ := r.pushed(signed(t, node.Notification(investment("last")))); status != http.StatusOK {
		t.Fatalf("the last push was answered %d", status)
	}
	if m := next(t, events); !strings.HasSuffix(m.Subject(), ".last") {
		t.Errorf("between the first and the last push came %s", m.Subject())
	}
	if code := r.terminate(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0\n%s", code, r.stderr)
	}
	if strings.Contains(r.stderr.String(), "WLTH7Q2MNB4X") {
		t.Error("the log holds what was pushed")
	}
}

func TestConfirmationsAreToldAndNotFollowed(t *testing.T) {
	r := newReceiver(t, "nats: {embedded: {users: [{name: ops, password: {env: OPS_PASSWORD}, allow: all}]}}")
	t.Setenv("OPS_PASSWORD", "correct horse battery")
	r.startBroker()
	node := nodeOf(t, 2)
	for _, typ := range []string{corastonetest.TypeSubscriptionConfirmation, corastonetest.TypeUnsubscribeConfirmation} {
		if status, _ := r.pushed(signed(t, node.Confirmation(typ))); status != http.StatusOK {
			t.Errorf("%s was answered %d, want 200", typ, status)
		}
	}
	r.relayed("published", 2)
	js := connect(t, strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
	c, err := js.OrderedConsumer(t.Context(), "POSTERN_OPS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"postern.ops.corastone.push_confirmation_requested", "postern.ops.corastone.push_ended"} {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject() != want {
			t.Errorf("subject is %s, want %s", m.Subject(), want)
		}
		if strings.Contains(string(m.Data()), "Token") || strings.Contains(string(m.Data()), "SubscribeURL") {
			t.Error("the event holds what would confirm the subscription")
		}
	}
}

func TestWrongSealKeyRefusesAndDestroysNothing(t *testing.T) {
	r := newReceiver(t, "")
	r.startBroker()
	node := nodeOf(t, 3)
	r.pushed(signed(t, node.Notification(investment("kept"))))
	r.relayed("published", 1)
	r.terminate()

	key := filepath.Join(r.dir, "data", "seal.key")
	right, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]string{
		"another": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
		"none":    "",
	} {
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		if wrong != "" {
			r.write("data/seal.key", wrong)
		}
		out, err := r.command("serve").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "key") {
			t.Errorf("with %s key it said (%v): %s", name, err, out)
		}
		if _, err := os.Stat(key); wrong == "" && err == nil {
			t.Error("it made a new key beside old data")
		}
		r.write("data/seal.key", string(right))
	}
	r.startBroker()
	if m := next(t, subscribe(t, connect(t, r.broker))); !strings.HasSuffix(m.Subject(), ".kept") {
		t.Errorf("with the right key again there is %s", m.Subject())
	}
}
