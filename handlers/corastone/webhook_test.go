package corastone_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// check fails unless err is what want says: "" for none, "uncheckable", or the
// reason of a refusal.
func check(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	var refused *handlers.RefusedError
	var uncheckable *handlers.UncheckableError
	switch {
	case errors.As(err, &refused):
		got = string(refused.Reason)
	case errors.As(err, &uncheckable):
		got = "uncheckable"
	case err != nil:
		got = "neither"
	}
	if got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// openVectors opens a webhook for testdata/vectors. Those were signed by openssl
// over strings that were put together by hand, so that signer and verifier
// can't err together. The key was thrown away.
func openVectors(t testing.TB) handlers.Webhook {
	t.Helper()
	pem, err := os.ReadFile("testdata/vectors/sns.pem")
	if err != nil {
		t.Fatal(err)
	}
	s := settings(t)
	s.Push.Topics = []string{"arn:aws:sns:eu-central-1:111122223333:integration-api-notifications-vectors1"}
	s.Push.Certificates = []handlers.File{certificate("sns.pem", pem)}
	return open(t, s)
}

func TestVectors(t *testing.T) {
	webhook := openVectors(t)
	files, _ := filepath.Glob("testdata/vectors/*.json")
	if len(files) != 16 {
		t.Fatalf("%d vectors", len(files))
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, err := webhook.Authenticate(handlers.Request{Body: body, Received: received})
		if err != nil || a.Stale {
			t.Errorf("%s: %v, stale %v", file, err, a.Stale)
		}
	}
}

func TestAuthenticReportsWhatTheEnvelopeSays(t *testing.T) {
	webhook := open(t, settings(t))
	for typ, role := range map[string]string{
		corastonetest.TypeNotification:             corastone.RoleNotification,
		corastonetest.TypeSubscriptionConfirmation: corastone.RoleConfirmation,
		corastonetest.TypeUnsubscribeConfirmation:  corastone.RoleUnsubscribe,
	} {
		e := notification(`{"error":{"errorId":"a"}}`)
		e.Type, e.Token, e.SubscribeURL = typ, "0123", "https://sns.invalid/"
		if typ != corastonetest.TypeNotification {
			e.Subject = nil
		}
		var contents []any
		for _, version := range []string{"1", "2"} {
			e.SignatureVersion = version
			a, err := webhook.Authenticate(request(sign(t, e)))
			if err != nil {
				t.Fatalf("%s, version %s: %v", typ, version, err)
			}
			contents = append(contents, a.Content)
			a.Content = [32]byte{}
			want := handlers.Authentic{
				Role:        role,
				TransportID: corastonetest.Topic + "/" + e.MessageID,
				Sent:        time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC),
			}
			if diff := cmp.Diff(want, a); diff != "" {
				t.Errorf("%s (-want +got):\n%s", typ, diff)
			}
		}
		if contents[0] != contents[1] {
			t.Errorf("%s: the same content signed in two ways is two contents", typ)
		}
	}
}

// TestSameMessageWithOtherSignedContentIsOtherContent: that is how a conflict
// is told from a repeat.
func TestSameMessageWithOtherSignedContentIsOtherContent(t *testing.T) {
	webhook := open(t, settings(t))
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*corastonetest.Envelope){
		"as it is":       func(*corastonetest.Envelope) {},
		"message":        func(e *corastonetest.Envelope) { e.Message += " " },
		"no subject":     func(e *corastonetest.Envelope) { e.Subject = nil },
		"empty subject":  func(e *corastonetest.Envelope) { e.Subject = new(string) },
		"time":           func(e *corastonetest.Envelope) { e.Timestamp = "2026-02-03T04:05:06.788Z" },
		"time otherwise": func(e *corastonetest.Envelope) { e.Timestamp = "2026-02-03T05:05:06.789+01:00" },
	} {
		e := notification(`{"error":{"errorId":"a"}}`)
		change(&e)
		a, err := webhook.Authenticate(request(sign(t, e)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, ok := seen[a.Content]; ok {
			t.Errorf("%s and %s have the same content", name, other)
		}
		seen[a.Content] = name
	}
}

// others are bytes that stand for all that a byte may be changed to.
const (
	others     = "aZ7.~/"
	manyOthers = others + "bA059+=-_ \x01\x80\xc3\xff"
)

// mutations changes every byte of every string in values, and returns how many
// bodies that made.
func mutations(t *testing.T, body []byte, values []string, others string, try func(body []byte)) int {
	t.Helper()
	n := 0
	for _, value := range values {
		at := strings.Index(string(body), value)
		if at < 0 {
			t.Fatalf("body has no %q", value)
		}
		for i := at; i < at+len(value); i++ {
			for _, other := range []byte(others) {
				c := body[i]
				if c == other || c == '\\' || i > 0 && body[i-1] == '\\' {
					continue
				}
				mutated := slices.Clone(body)
				mutated[i] = other
				try(mutated)
				n++
			}
		}
	}
	return n
}

func TestEveryChangeOfWhatIsSignedIsRefused(t *testing.T) {
	webhook := open(t, settings(t))
	n := 0
	for _, e := range []corastonetest.Envelope{
		notification(`{"transaction":{"processId":"c3a91f52-6f0b","status":"success","timestamp":"2026-02-03T04:05:06Z"}}`),
		{
			Type: corastonetest.TypeSubscriptionConfirmation, MessageID: "0a1b2c3d-4e5f", Token: "0123456789abcdef",
			TopicARN: corastonetest.Topic, Message: "Agree?", SubscribeURL: "https://sns.invalid/?Token=0123456789abcdef",
			Timestamp: sent, SignatureVersion: "2",
		},
	} {
		e = sign(t, e)
		values := []string{e.Type, e.MessageID, e.TopicARN, e.Timestamp, e.Signature, strings.ReplaceAll(e.Message, `"`, `\"`)}
		if e.Subject != nil {
			values = append(values, *e.Subject)
		} else {
			values = append(values, e.Token, e.SubscribeURL)
		}
		n += mutations(t, e.Body(), values, others+"5b\x01\xff", func(body []byte) {
			if a, err := webhook.Authenticate(handlers.Request{Body: body, Received: received}); err == nil {
				t.Errorf("accepted as %+v:\n%s", a, body)
			}
		})
	}
	if n < 10_000 {
		t.Errorf("only %d mutations", n)
	}
}

func TestChangesOfWhatIsNotSignedChangeNothing(t *testing.T) {
	webhook := open(t, settings(t))
	e := notification(`{"error":{"errorId":"a"}}`)
	e.UnsubscribeURL = "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe"
	e.SigningCertURL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem"
	e.MessageAttributes = map[string]corastonetest.Attribute{
		"Type": {Type: "String", Value: "SubscriptionConfirmation"}, "Message": {Type: "String", Value: "other"},
	}
	e = sign(t, e)
	want, err := webhook.Authenticate(request(e))
	if err != nil {
		t.Fatal(err)
	}
	told := bodies(t, delivery(want.Role, e.Body()))
	n := mutations(t, e.Body(), []string{e.UnsubscribeURL, e.SigningCertURL, `SubscriptionConfirmation`, `other`}, others, func(body []byte) {
		got, err := webhook.Authenticate(handlers.Request{Body: body, Received: received})
		if err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		if now := bodies(t, delivery(got.Role, body)); now != told {
			t.Errorf("told\n%s\nwant\n%s", now, told)
		}
	})
	if n < 500 {
		t.Errorf("only %d mutations", n)
	}
}

func TestChecksAreMadeInTheContractsOrder(t *testing.T) {
	webhook := open(t, settings(t))
	good := sign(t, notification(`{"error":{"errorId":"a"}}`))
	elsewhere := notification(`{"error":{"errorId":"a"}}`)
	elsewhere.TopicARN += "-other"
	forged := good
	forged.Message += " "
	forgedElsewhere := sign(t, elsewhere)
	forgedElsewhere.Message += " "
	header := func(r handlers.Request, name, value string) handlers.Request {
		r.Header.Set(name, value)
		return r
	}
	for name, c := range map[string]struct {
		request handlers.Request
		want    string
	}{
		"good":                       {request(good), ""},
		"no headers":                 {handlers.Request{Body: good.Body(), Received: received}, ""},
		"empty headers":              {header(header(request(good), "x-amz-sns-message-id", ""), "content-encoding", ""), ""},
		"identity":                   {header(request(good), "Content-Encoding", "identity"), ""},
		"any content type":           {header(request(good), "Content-Type", "application/octet-stream"), ""},
		"raw delivery":               {header(handlers.Request{Header: http.Header{}, Body: []byte(`{"error":{}}`)}, "x-amz-sns-rawdelivery", "true"), "uncheckable"},
		"compressed":                 {header(request(good), "Content-Encoding", "gzip"), "uncheckable"},
		"type differs":               {header(request(good), "x-amz-sns-message-type", "SubscriptionConfirmation"), "header"},
		"id differs":                 {header(request(good), "x-amz-sns-message-id", "other"), "header"},
		"topic differs":              {header(request(good), "x-amz-sns-topic-arn", corastonetest.Topic+"x"), "header"},
		"other topic":                {request(sign(t, elsewhere)), "topic"},
		"forged":                     {request(forged), "signature"},
		"compressed, type differs":   {header(header(request(good), "Content-Encoding", "br"), "x-amz-sns-message-type", "x"), "uncheckable"},
		"no envelope, type differs":  {header(handlers.Request{Header: http.Header{}, Body: []byte("{}")}, "x-amz-sns-message-type", "x"), "uncheckable"},
		"id differs, other topic":    {header(request(sign(t, elsewhere)), "x-amz-sns-message-id", "other"), "header"},
		"other topic, forged":        {request(forgedElsewhere), "topic"},
		"topic in another case":      {request(sign(t, func() corastonetest.Envelope { e := good; e.TopicARN = strings.ToUpper(e.TopicARN); return e }())), "topic"},
		"second value of id differs": {func() handlers.Request { r := request(good); r.Header.Add("x-amz-sns-message-id", "other"); return r }(), "header"},
		"second encoding compresses": {func() handlers.Request {
			r := request(good)
			r.Header["Content-Encoding"] = []string{"identity", "gzip"}
			return r
		}(), "uncheckable"},
		"subscription is not checked": {header(request(good), "x-amz-sns-subscription-arn", "other"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webhook.Authenticate(c.request)
			check(t, err, c.want)
		})
	}
}

func TestAgeIsJudgedByTheTimestamp(t *testing.T) {
	s := settings(t)
	s.Push.MaxAge = handlers.Duration(48 * time.Hour)
	webhook := open(t, s)
	stamp := func(d time.Duration) string { return received.Add(d).Format(corastonetest.TimeLayout) }
	for timestamp, stale := range map[string]bool{
		stamp(0):                                false,
		stamp(-48 * time.Hour):                  false,
		stamp(-48*time.Hour - time.Second):      true,
		stamp(5 * time.Minute):                  false,
		stamp(5*time.Minute + time.Millisecond): true,
		"1970-01-01T00:00:00.000Z":              true,
		"9999-12-31T23:59:59.999Z":              true,
		"yesterday":                             true,
		"2026-02-03 04:05:06":                   true,
		"1770091497412":                         true,
	} {
		e := notification(`{"error":{"errorId":"a"}}`)
		e.Timestamp = timestamp
		a, err := webhook.Authenticate(request(sign(t, e)))
		if err != nil || a.Stale != stale {
			t.Errorf("%s: stale %v, %v; want %v", timestamp, a.Stale, err, stale)
		}
	}
}

func TestEveryPinnedKeyVerifiesAndNoOther(t *testing.T) {
	old, err := corastonetest.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	ended, err := old.SelfSigned(received.AddDate(-2, 0, 0), received.AddDate(-1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	both := settings(t)
	both.Push.Certificates = append(both.Push.Certificates, certificate("old.pem", ended))
	bundle := settings(t)
	bundle.Push.Certificates = []handlers.File{certificate("all.pem", slices.Concat([]byte("# a comment\n"), ended, signer(t).Certificate()))}
	for name, c := range map[string]struct {
		settings *corastone.Settings
		old, new string
	}{
		"one":    {settings(t), "signature", ""},
		"both":   {both, "", ""},
		"bundle": {bundle, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			webhook := open(t, c.settings)
			e := notification(`{"error":{"errorId":"a"}}`)
			_, err := webhook.Authenticate(request(sign(t, e)))
			check(t, err, c.new)
			signed, err := old.Sign(e)
			if err != nil {
				t.Fatal(err)
			}
			_, err = webhook.Authenticate(request(signed))
			check(t, err, c.old)
		})
	}
}
