package corastone

import "errors"

// Envelope is what the body of a push says of itself, for who explains a
// verdict. Nothing of it is verified.
type Envelope struct {
	Type             string
	MessageID        string
	TopicARN         string
	Timestamp        string
	SignatureVersion string
	SigningCertURL   string // "" if it is blank
	Signed           []byte // the string to sign
}

// ReadEnvelope reads an envelope as [handlers.Webhook] reads it. The error says
// why a body is none, and holds nothing of it.
func ReadEnvelope(body []byte) (Envelope, error) {
	e, problem := parseEnvelope(body)
	if problem != "" {
		return Envelope{}, errors.New(problem)
	}
	return Envelope{
		Type: e.Type, MessageID: e.MessageID, TopicARN: e.TopicARN, Timestamp: e.Timestamp,
		SignatureVersion: e.SignatureVersion, SigningCertURL: e.signingCertURL(), Signed: e.signed(),
	}, nil
}
