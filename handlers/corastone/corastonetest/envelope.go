package corastonetest

import (
	"bytes"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of envelopes.
const (
	TypeNotification             = "Notification"
	TypeSubscriptionConfirmation = "SubscriptionConfirmation"
	TypeUnsubscribeConfirmation  = "UnsubscribeConfirmation"
)

// TimeLayout is how SNS writes a Timestamp.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Envelope is what SNS wraps around a message.
type Envelope struct {
	Type              string
	MessageID         string
	Token             string // confirmations only
	TopicARN          string
	Subject           *string // nil: absent
	Message           string
	SubscribeURL      string // confirmations only
	Timestamp         string
	SignatureVersion  string
	Signature         string
	SigningCertURL    string // Corastone's sample has it empty
	UnsubscribeURL    string // notifications only
	MessageAttributes map[string]Attribute
}

// Attribute is a message attribute. No signature covers it.
type Attribute struct {
	Type  string `json:"Type"`
	Value string `json:"Value"`
}

// Body returns e as SNS writes it: a member a line, spaces around the colon.
func (e Envelope) Body() []byte {
	var b bytes.Buffer
	member := func(name, value string) {
		if b.Len() == 0 {
			b.WriteString("{\n")
		} else {
			b.WriteString(",\n")
		}
		b.WriteString("  " + quote(name) + " : " + value)
	}
	confirmation := e.Type != TypeNotification
	member("Type", quote(e.Type))
	member("MessageId", quote(e.MessageID))
	if confirmation {
		member("Token", quote(e.Token))
	}
	member("TopicArn", quote(e.TopicARN))
	if e.Subject != nil {
		member("Subject", quote(*e.Subject))
	}
	member("Message", quote(e.Message))
	if confirmation {
		member("SubscribeURL", quote(e.SubscribeURL))
	}
	member("Timestamp", quote(e.Timestamp))
	member("SignatureVersion", quote(e.SignatureVersion))
	member("Signature", quote(e.Signature))
	member("SigningCertURL", quote(e.SigningCertURL))
	if !confirmation {
		member("UnsubscribeURL", quote(e.UnsubscribeURL))
	}
	if len(e.MessageAttributes) > 0 {
		// A map of strings can always be marshalled.
		attributes, _ := json.Marshal(e.MessageAttributes, json.Deterministic(true))
		member("MessageAttributes", string(attributes))
	}
	b.WriteString("\n}")
	return b.Bytes()
}

// Push is a request of SNS.
type Push struct {
	Header http.Header
	Body   []byte
}

// Push returns the request that brings e: SNS says text/plain of its JSON.
func (e Envelope) Push() Push {
	h := http.Header{
		"Content-Type":           {"text/plain; charset=UTF-8"},
		"User-Agent":             {"Amazon Simple Notification Service Agent"},
		"X-Amz-Sns-Message-Type": {e.Type},
		"X-Amz-Sns-Message-Id":   {e.MessageID},
		"X-Amz-Sns-Topic-Arn":    {e.TopicARN},
	}
	if e.Type != TypeSubscriptionConfirmation {
		h.Set("X-Amz-Sns-Subscription-Arn", e.TopicARN+":00000000-0000-4000-8000-000000000000")
	}
	return Push{Header: h, Body: e.Body()}
}

// quote writes a JSON string. Bytes that are no UTF-8 become U+FFFD.
func quote(s string) string {
	b, _ := jsontext.AppendQuote(nil, s)
	return string(b)
}
