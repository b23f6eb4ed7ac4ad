package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// TestForgedConfirmationsReachNobody: whatever comes, only SNS of the topic's
// region is dialed, and only for what is authentic.
func TestForgedConfirmationsReachNobody(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, true).ready()
	node := nodeOf(t, 46)
	confirmation := func(change func(*corastonetest.Envelope)) corastonetest.Envelope {
		e := node.Confirmation(corastonetest.TypeSubscriptionConfirmation)
		change(&e)
		return e
	}
	topic := func(arn string) func(*corastonetest.Envelope) {
		return func(e *corastonetest.Envelope) { e.TopicARN = arn }
	}
	for name, change := range map[string]func(*corastonetest.Envelope){
		"another account": topic("arn:aws:sns:eu-central-1:999900001111:another"),
		"another region":  topic(strings.Replace(corastonetest.Topic, "eu-central-1", "us-east-1", 1)),
		"China":           topic("arn:aws-cn:sns:cn-north-1:111122223333:integration-api-notifications-standin1"),
		"government":      topic("arn:aws-us-gov:sns:us-gov-west-1:111122223333:integration-api-notifications-standin1"),
		"a host":          topic("arn:aws:sns:evil.example/?:111122223333:x"),
	} {
		if status, _ := r.pushed(signed(t, confirmation(change))); status != http.StatusForbidden {
			t.Errorf("%s: answered %d", name, status)
		}
	}
	for name, spoil := range map[string]func(*corastonetest.Envelope){
		"token":        func(e *corastonetest.Envelope) { e.Token += "0" },
		"SubscribeURL": func(e *corastonetest.Envelope) { e.SubscribeURL = "https://evil.example/" },
		"signature":    func(e *corastonetest.Envelope) { e.Signature = base64.StdEncoding.EncodeToString(make([]byte, 256)) },
		"no signature": func(e *corastonetest.Envelope) { e.Signature = "" },
	} {
		e, err := testSigner(t).Sign(node.Confirmation(corastonetest.TypeSubscriptionConfirmation))
		if err != nil {
			t.Fatal(err)
		}
		spoil(&e)
		if status, _ := r.pushed(e.Push()); status != http.StatusForbidden {
			t.Errorf("forged %s: answered %d", name, status)
		}
	}
	if got := o.connected(); len(got) != 0 {
		t.Errorf("connected to %q", got)
	}

	// Signed, but not as SNS would: told, and never called for.
	for name, token := range map[string]string{
		"a parameter": "abc&Action=Unsubscribe", "a line": "abc\r\nHost: evil.example", "4 KB": strings.Repeat("a", 4096), "a path": "../../x",
	} {
		r.asks(node, func(e *corastonetest.Envelope) { e.Token = token })
		eventually(t, name+" is refused", func() bool {
			waiting := r.source().Waiting
			return len(waiting) == 1 && strings.Contains(waiting[0].Failure, "Token")
		})
	}
	if got := o.connected(); len(got) != 0 {
		t.Errorf("connected to %q", got)
	}

	// Authentic, with a SubscribeURL that leads elsewhere: nobody goes there.
	for _, at := range []string{
		"https://evil.example/", "https://" + snsHost + "@evil.example/", "http://169.254.169.254/", "https://sns.cn-north-1.amazonaws.com.cn/",
		"https://sns.us-gov-west-1.amazonaws.com/", "https://sns.s3-us-west-2.amazonaws.com/",
	} {
		before := len(o.sns.Confirmed())
		r.asks(node, func(e *corastonetest.Envelope) { e.SubscribeURL = at })
		eventually(t, "it is confirmed", func() bool { return len(o.sns.Confirmed()) == before+1 })
		r.waits(0)
	}
	for _, got := range o.connected() {
		if got != "CONNECT "+snsHost+":443" {
			t.Errorf("connected to %q", got)
		}
	}
	if strings.Contains(r.stderr.String(), "evil.example") {
		t.Error("the log holds what came")
	}
}

// TestTwoReceiversConfirmOnce: both hear of it at once, and both may.
func TestTwoReceiversConfirmOnce(t *testing.T) {
	o := newOutside(t)
	server := bustest.NewExternal(t)
	var both []*receiver
	for range 2 {
		r := o.confirming(t, true)
		r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "")
		r.write("seal.key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
		r.write("pseudonym.key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
		r.write("more.yaml", strings.Replace(operators, "nats: {embedded: {users: [{name: ops, password: {file: nats.password}, allow: all}]}}", `
nats: {url: "`+server.URL()+`", embedded: {max_store: 128MiB}}
seal: {keys: [{file: seal.key}]}
pseudonyms: {key: {file: pseudonym.key}}
`, 1))
		r.start()
		both = append(both, r)
	}
	for _, r := range both {
		r.known()
	}
	node := nodeOf(t, 47)
	const times = 5
	for i := range times {
		e := signed(t, node.Confirmation(corastonetest.TypeSubscriptionConfirmation))
		for _, r := range both { // SNS may tell both
			if status, _ := r.pushed(e); status != http.StatusOK {
				t.Fatalf("answered %d", status)
			}
		}
		eventually(t, "it is confirmed", func() bool { return len(o.sns.Confirmed()) == i+1 })
		for _, r := range both {
			r.waits(0)
		}
	}
	tokens := map[string]bool{}
	for _, c := range o.sns.Confirmed() {
		tokens[c.Token] = true
	}
	if len(o.sns.Confirmed()) != times || len(tokens) != times || len(o.sns.Asked()) != times {
		t.Errorf("SNS was asked %d times to confirm %d of %d", len(o.sns.Asked()), len(tokens), times)
	}
	told := both[0].toldOf(t, server.URL())
	n := map[string]int{}
	for _, subject := range told {
		n[subject]++
	}
	if diff := cmp.Diff(map[string]int{"push_confirmation_requested": times, "push_confirmed": times}, n); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
