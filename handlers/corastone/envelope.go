package corastone

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// envelope is what SNS posts, as far as a signature covers it, and what is
// needed to verify that. Its names are matched to the letter, at the top level
// only. What else the signature does not cover (UnsubscribeURL,
// MessageAttributes) is not looked at.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type envelope struct {
	Type             string  `json:"Type"`
	MessageID        string  `json:"MessageId"`
	TopicARN         string  `json:"TopicArn"`
	Subject          *string `json:"Subject"` // null is signed like absent, empty is not
	Message          *string `json:"Message"`
	Timestamp        string  `json:"Timestamp"`
	SignatureVersion string  `json:"SignatureVersion"`
	Signature        string  `json:"Signature"`
	Token            string  `json:"Token"`
	SubscribeURL     *string `json:"SubscribeURL"`
	// LambdaSubscribeURL is how SNS spells it for Lambda; some relays pass
	// that on. It counts only where the other is absent.
	LambdaSubscribeURL *string `json:"SubscribeUrl"`

	// No signature covers these, and where they don't matter they may be
	// anything.
	SigningCertURL       jsontext.Value `json:"SigningCertURL"`
	LambdaSigningCertURL jsontext.Value `json:"SigningCertUrl"`
}

// maxMessageID is far above the 36 characters that a MessageId has.
const maxMessageID = 200

// parseEnvelope reads an envelope of one of the three types. Otherwise it says
// what is missing, in words that hold nothing of body.
func parseEnvelope(body []byte) (e envelope, problem string) {
	if !plain(body) {
		return e, "body is nested too deep or has characters that SNS doesn't carry"
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, "body is not strict JSON with the fields of an SNS envelope"
	}
	if e.SubscribeURL == nil {
		e.SubscribeURL = e.LambdaSubscribeURL
	}
	switch {
	case e.role() == "":
		return e, "Type is none of an SNS envelope"
	case e.MessageID == "" || len(e.MessageID) > maxMessageID:
		return e, "MessageId is missing or too long"
	case e.TopicARN == "":
		return e, "TopicArn is missing"
	case e.Message == nil:
		return e, "Message is missing"
	case e.Timestamp == "":
		return e, "Timestamp is missing"
	case e.role() != RoleNotification && (e.Token == "" || e.SubscribeURL == nil):
		return e, "Token or SubscribeURL is missing"
	}
	return e, ""
}

// role returns what kind of push e is, or "".
func (e *envelope) role() string {
	switch e.Type {
	case "Notification":
		return RoleNotification
	case "SubscriptionConfirmation":
		return RoleConfirmation
	case "UnsubscribeConfirmation":
		return RoleUnsubscribe
	}
	return ""
}

// signingCertURL returns where e says that its signer's certificate is, "" if
// it says nothing.
func (e *envelope) signingCertURL() string {
	value := e.SigningCertURL
	if value == nil {
		value = e.LambdaSigningCertURL
	}
	url, err := jsontext.AppendUnquote(nil, value)
	if err != nil || strings.TrimSpace(string(url)) == "" {
		return ""
	}
	return string(url)
}

// signed returns the string to sign: names and decoded values in the order of
// the names, each ended by a newline, the last one too.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
func (e *envelope) signed() []byte {
	const names = 128 // more than the names and newlines need
	b := make([]byte, 0, names+len(*e.Message)+len(e.MessageID)+len(e.Timestamp)+len(e.TopicARN)+len(e.Type)+
		len(deref(e.Subject))+len(deref(e.SubscribeURL))+len(e.Token))
	field := func(name, value string) {
		b = append(append(append(append(b, name...), '\n'), value...), '\n')
	}
	field("Message", *e.Message)
	field("MessageId", e.MessageID)
	if e.role() == RoleNotification {
		if e.Subject != nil {
			field("Subject", *e.Subject)
		}
		field("Timestamp", e.Timestamp)
	} else {
		field("SubscribeURL", *e.SubscribeURL)
		field("Timestamp", e.Timestamp)
		field("Token", e.Token)
	}
	field("TopicArn", e.TopicARN)
	field("Type", e.Type)
	return b
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
