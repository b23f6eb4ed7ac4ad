package corastone

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// maxSkew is how far ahead of our clock an envelope's Timestamp may be.
const maxSkew = 5 * time.Minute

// webhook decides whether a push is authentic. It never changes, apart from
// the certificates that it gets to know, and is safe for concurrent use.
type webhook struct {
	topics []string
	maxAge time.Duration
	// secret is what a caller must know; nil: nothing.
	secret *sharedSecret
	// verify returns nil only if the signature of an envelope with that
	// content is good, at a time. Nil: whoever may call is believed, so that
	// signatures are not looked at and bare entries do too.
	verify func(e *envelope, c content, at time.Time) error
}

// Authenticate implements [handlers.Webhook]. It checks, in this order: the
// shared secret, that the body is an envelope, that the x-amz-sns-* headers
// agree with it, its topic, its signature. It neither changes nor keeps
// anything of r.
func (w *webhook) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	if compressed(r.Header) {
		return handlers.Authentic{}, uncheckable("body is compressed")
	}
	if w.secret != nil {
		if err := w.secret.check(r.Header); err != nil {
			return handlers.Authentic{}, err
		}
	}
	e, problem := parseEnvelope(r.Body)
	switch {
	case problem == "":
		return w.fromEnvelope(r, &e)
	case w.verify == nil:
		return w.fromEntry(r)
	default:
		return handlers.Authentic{}, uncheckable(problem)
	}
}

func (w *webhook) fromEnvelope(r handlers.Request, e *envelope) (handlers.Authentic, error) {
	if name, ok := e.agrees(r.Header); !ok {
		return handlers.Authentic{}, refused(handlers.ReasonHeader, name+" differs from the body")
	}
	if !slices.Contains(w.topics, e.TopicARN) {
		return handlers.Authentic{}, refused(handlers.ReasonTopic, "TopicArn is none of the configured topics")
	}
	sent, err := time.Parse(time.RFC3339, e.Timestamp)
	at := sent
	if err != nil {
		at = r.Received
	}
	c := contentOf(e)
	if w.verify != nil {
		if err := w.verify(e, c, at); err != nil {
			return handlers.Authentic{}, err
		}
	}
	age := r.Received.Sub(sent)
	return handlers.Authentic{
		Role:        e.role(),
		TransportID: e.TopicARN + "/" + e.MessageID,
		Content:     c.sum256,
		Sent:        sent,
		Stale:       err != nil || age > w.maxAge || age < -maxSkew,
	}, nil
}

// fromEntry takes the body for a bare entry, as a relay or SNS's raw delivery
// sends it. What it says may turn out unusable; it is not lost then.
func (w *webhook) fromEntry(r handlers.Request) (handlers.Authentic, error) {
	sns := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(r.Header[name]), func(v string) bool { return v == "" })
	}
	for _, typ := range sns(headerType) {
		if typ != "Notification" { // the others are never delivered raw
			return handlers.Authentic{}, refused(handlers.ReasonHeader, "x-amz-sns-message-type differs from the body, which is no envelope")
		}
	}
	for _, topic := range sns(headerTopic) {
		if !slices.Contains(w.topics, topic) {
			return handlers.Authentic{}, refused(handlers.ReasonTopic, "x-amz-sns-topic-arn is none of the configured topics")
		}
	}
	ids := slices.Compact(sns(headerID))
	if len(ids) > 1 || len(ids) == 1 && len(ids[0]) > maxMessageID {
		return handlers.Authentic{}, refused(handlers.ReasonHeader, "x-amz-sns-message-id is there with several values, or too long")
	}
	a := handlers.Authentic{Role: RoleEntry, Content: sha256.Sum256(r.Body)}
	a.TransportID = hex.EncodeToString(a.Content[:])
	if len(ids) == 1 {
		a.TransportID = ids[0]
	}
	return a, nil
}

// The headers that SNS sets, in canonical form. They are not signed.
// https://docs.aws.amazon.com/sns/latest/dg/http-header.html
const (
	headerType  = "X-Amz-Sns-Message-Type"
	headerID    = "X-Amz-Sns-Message-Id"
	headerTopic = "X-Amz-Sns-Topic-Arn"
)

// agrees reports whether the headers that SNS sets, where they say anything,
// say what the body says, and which does not.
func (e *envelope) agrees(h http.Header) (name string, ok bool) {
	for _, header := range []struct{ name, value string }{
		{headerType, e.Type},
		{headerID, e.MessageID},
		{headerTopic, e.TopicARN},
	} {
		for _, value := range h[header.name] {
			if value != "" && value != header.value {
				return strings.ToLower(header.name), false
			}
		}
	}
	return "", true
}

func compressed(h http.Header) bool {
	return slices.ContainsFunc(h["Content-Encoding"], func(v string) bool {
		return v != "" && !strings.EqualFold(v, "identity")
	})
}

func refused(reason handlers.Reason, detail string) error {
	return &handlers.RefusedError{Reason: reason, Detail: detail}
}

func uncheckable(detail string) error { return &handlers.UncheckableError{Detail: detail} }
