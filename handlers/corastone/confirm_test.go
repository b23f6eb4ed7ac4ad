package corastone_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// confirming returns how a source of topics confirms, with all ways out led to
// a stand-in.
func confirming(t *testing.T, host *corastonetest.CertificateHost, topics ...string) handlers.Confirm {
	t.Helper()
	s := settings(t)
	s.Push.Topics = topics
	source, err := corastone.Platform().Open("corastone", s, handlers.Means{Fetch: host.Fetch})
	if err != nil {
		t.Fatal(err)
	}
	if source.Push.ConfirmUnasked {
		t.Error("it confirms without being told to")
	}
	return source.Push.Confirm
}

// asking returns the delivery of a confirmation of a topic.
func asking(t *testing.T, topic string, change func(*corastonetest.Envelope)) handlers.Delivery {
	t.Helper()
	e := corastonetest.NewNode(signer(t), topic, 11).Confirmation(corastonetest.TypeSubscriptionConfirmation)
	if change != nil {
		change(&e)
	}
	return delivery(corastone.RoleConfirmation, e.Body())
}

func TestSubscriptionIsConfirmedAtTheSNSOfItsTopicAndNowhereElse(t *testing.T) {
	for topic, host := range map[string]string{
		"arn:aws:sns:eu-central-1:111122223333:mine-1":           "sns.eu-central-1.amazonaws.com",
		"arn:aws:sns:us-east-1:111122223333:mine-1":              "sns.us-east-1.amazonaws.com",
		"arn:aws-cn:sns:cn-north-1:111122223333:mine-1":          "sns.cn-north-1.amazonaws.com.cn",
		"arn:aws-cn:sns:cn-northwest-1:111122223333:mine-1":      "sns.cn-northwest-1.amazonaws.com.cn",
		"arn:aws-us-gov:sns:us-gov-west-1:111122223333:mine-1":   "sns.us-gov-west-1.amazonaws.com",
		"arn:aws:sns:ap-southeast-3:111122223333:mine_with.dots": "sns.ap-southeast-3.amazonaws.com",
	} {
		for _, subscribe := range []string{
			"https://evil.example/?Action=ConfirmSubscription",
			"http://169.254.169.254/latest/meta-data/",
			"https://" + host + "@evil.example/", "https://evil.example#@" + host + "/", "https://" + host + ":8443/",
			"https://sns.s3-us-west-2.amazonaws.com/", "https://" + host + ".evil.example/", "file:///etc/passwd", "", "\n",
		} {
			sns := &corastonetest.CertificateHost{}
			d := asking(t, topic, func(e *corastonetest.Envelope) {
				e.SubscribeURL, e.SigningCertURL, e.Token = subscribe, subscribe, "0a1b2c3d4e5f"
			})
			if err := confirming(t, sns, topic)(t.Context(), d); err != nil {
				t.Errorf("%s, %q: %v", topic, subscribe, err)
			}
			want := "https://" + host + "/?Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(topic) + "&Token=0a1b2c3d4e5f"
			if diff := cmp.Diff([]string{want}, sns.Asked()); diff != "" {
				t.Errorf("%s, %q: asked for (-want +got):\n%s", topic, subscribe, diff)
			}
			if diff := cmp.Diff([]corastonetest.Confirmation{{Host: host, Topic: topic, Token: "0a1b2c3d4e5f"}}, sns.Confirmed()); diff != "" {
				t.Errorf("%s: confirmed (-want +got):\n%s", topic, diff)
			}
		}
	}
}

// TestNobodyIsAskedToConfirmWhatIsNone: whatever came into a delivery, nothing
// is called for it.
func TestNobodyIsAskedToConfirmWhatIsNone(t *testing.T) {
	token := func(token string) func(*corastonetest.Envelope) {
		return func(e *corastonetest.Envelope) { e.Token = token }
	}
	topic := func(arn string) func(*corastonetest.Envelope) {
		return func(e *corastonetest.Envelope) { e.TopicARN = arn }
	}
	for name, change := range map[string]func(*corastonetest.Envelope){
		"token and a parameter": token("abc&Action=Unsubscribe"), "token and a line": token("abc\nHost: evil"),
		"token and CR": token("abc\r\n\r\n"), "token and NUL": token("abc\u0000"), "long token": token(strings.Repeat("a", 4096)),
		"just too long": token(strings.Repeat("a", 513)), "no token": token(""), "blank token": token(" "), "token and a slash": token("../x"),
		"token and a percent": token("%26"), "token and a hash": token("a#b"), "token and a quote": token(`a"b`), "other letters": token("абв"),
		"another topic":      topic("arn:aws:sns:eu-central-1:999900001111:another"),
		"another region":     topic(strings.Replace(corastonetest.Topic, "eu-central-1", "us-east-1", 1)),
		"another partition":  topic(strings.Replace(corastonetest.Topic, "arn:aws:", "arn:aws-cn:", 1)),
		"topic and a line":   topic(corastonetest.Topic + "\n"),
		"no topic":           topic(""),
		"a host in topic":    topic("arn:aws:sns:evil.example/?:111122223333:x"),
		"an end":             func(e *corastonetest.Envelope) { e.Type = corastonetest.TypeUnsubscribeConfirmation },
		"a notification":     func(e *corastonetest.Envelope) { e.Type = corastonetest.TypeNotification },
		"a type of its own":  func(e *corastonetest.Envelope) { e.Type = "ConfirmSubscription" },
		"a bucket as region": topic("arn:aws:sns:s3-us-west-2:111122223333:x"),
	} {
		t.Run(name, func(t *testing.T) {
			sns := &corastonetest.CertificateHost{}
			d := asking(t, corastonetest.Topic, change)
			err := confirming(t, sns, corastonetest.Topic)(t.Context(), d)
			var refused *handlers.RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("error %v", err)
			}
			if asked := sns.Asked(); len(asked) != 0 {
				t.Errorf("asked for %q", asked)
			}
			if err != nil && (strings.Contains(err.Error(), "evil") || strings.Contains(err.Error(), "abc")) {
				t.Errorf("error holds what came: %v", err)
			}
		})
	}
	sns := &corastonetest.CertificateHost{}
	for _, role := range []string{corastone.RoleNotification, corastone.RoleUnsubscribe, corastone.RoleEntry, ""} {
		d := asking(t, corastonetest.Topic, nil)
		d.Role = role
		if err := confirming(t, sns, corastonetest.Topic)(t.Context(), d); err == nil {
			t.Errorf("as %q it is confirmed", role)
		}
	}
	d := asking(t, corastonetest.Topic, nil)
	d.Payload = []byte("{")
	if err := confirming(t, sns, corastonetest.Topic)(t.Context(), d); err == nil || len(sns.Asked()) != 0 {
		t.Errorf("%v, asked for %q", err, sns.Asked())
	}
}

func TestTokensThatSNSMayUseConfirm(t *testing.T) {
	for _, token := range []string{"a", strings.Repeat("0123456789abcdef", 32), "A-Z_a-z", strings.Repeat("2336412f37", 30)} {
		sns := &corastonetest.CertificateHost{}
		d := asking(t, corastonetest.Topic, func(e *corastonetest.Envelope) { e.Token = token })
		if err := confirming(t, sns, corastonetest.Topic)(t.Context(), d); err != nil || sns.Confirmed()[0].Token != token {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// TestOnlySNSsWordConfirms: an answer of somebody in between does not, and
// whether it is of use to try again is told.
func TestOnlySNSsWordConfirms(t *testing.T) {
	answer := func(body string) handlers.Fetch {
		return func(context.Context, string) ([]byte, error) { return []byte(body), nil }
	}
	arn := func(arn string) string {
		return `<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ConfirmSubscriptionResult><SubscriptionArn>` +
			arn + `</SubscriptionArn></ConfirmSubscriptionResult></ConfirmSubscriptionResponse>`
	}
	for name, c := range map[string]struct {
		fetch handlers.Fetch
		final bool
		good  bool
	}{
		"confirmed":      {answer(arn(corastonetest.Topic + ":1f")), false, true},
		"another topic":  {answer(arn("arn:aws:sns:eu-central-1:999900001111:another:1f")), false, false},
		"topic's prefix": {answer(arn(corastonetest.Topic + "-2:1f")), false, false},
		"pending":        {answer(arn("pending confirmation")), false, false},
		"empty":          {answer(""), false, false},
		"a web page":     {answer("<html><body>Blocked by your company</body></html>"), false, false},
		"another answer": {answer(strings.ReplaceAll(arn(corastonetest.Topic+":1f"), "ConfirmSubscription", "Subscribe")), false, false},
		"cut":            {answer(arn(corastonetest.Topic + ":1f")[:150]), false, false},
		"lapsed": {func(context.Context, string) ([]byte, error) {
			return nil, fmt.Errorf("%w: its host answered 400", handlers.ErrNotThere)
		}, true, false},
		"unreachable": {func(context.Context, string) ([]byte, error) { return nil, errors.New("its host answered 503") }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := corastone.Platform().Open("corastone", settings(t), handlers.Means{Fetch: c.fetch})
			if err != nil {
				t.Fatal(err)
			}
			err = source.Push.Confirm(t.Context(), asking(t, corastonetest.Topic, nil))
			if (err == nil) != c.good || errors.Is(err, handlers.ErrNotThere) != c.final {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSubscriptionsMayBeConfirmedUnaskedInEveryWayToAuthenticate(t *testing.T) {
	s := newSNS(t)
	for name, set := range map[string]*corastone.Settings{
		"required": s.settings(t), "pinned": settings(t), "header": headerSettings(t, secret), "off": offSettings(t),
	} {
		set.Push.ConfirmSubscriptions = true
		source, err := corastone.Platform().Open("corastone", set, s.means())
		if err != nil || !source.Push.ConfirmUnasked || source.Push.Confirm == nil || source.Push.Signature != name {
			t.Errorf("%s: %v, %+v", name, err, source.Push)
		}
	}
	for _, region := range []string{"us-iso-east-1", "eusc-de-east-1", "moon"} {
		set := settings(t)
		set.Push.Topics = append(set.Push.Topics, "arn:aws:sns:"+region+":111122223333:mine")
		if _, err := corastone.Platform().Open("corastone", set, s.means()); err != nil {
			t.Errorf("%s: %v", region, err)
		}
		set.Push.ConfirmSubscriptions = true
		_, err := corastone.Platform().Open("corastone", set, s.means())
		if err == nil || !strings.Contains(err.Error(), "push.topics[1]") || !strings.Contains(err.Error(), "push.confirm_subscriptions") {
			t.Errorf("%s: %v", region, err)
		}
	}
}
