package corastone

import (
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1, the default of SNS topics
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// maxSkew is how far ahead of our clock an envelope's Timestamp may be.
const maxSkew = 5 * time.Minute

// webhook verifies SNS envelopes with pinned keys. It never changes, so it is
// safe for concurrent use.
type webhook struct {
	topics []string
	keys   []*rsa.PublicKey
	maxAge time.Duration
}

// Authenticate implements [handlers.Webhook]. It checks, in this order: that
// the body is an envelope, that the x-amz-sns-* headers agree with it, its
// topic, its signature. It neither changes nor keeps anything of r.
func (w *webhook) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	if compressed(r.Header) {
		return handlers.Authentic{}, &handlers.UncheckableError{Detail: "body is compressed"}
	}
	e, problem := parseEnvelope(r.Body)
	if problem != "" {
		return handlers.Authentic{}, &handlers.UncheckableError{Detail: problem}
	}
	if name, ok := e.agrees(r.Header); !ok {
		return handlers.Authentic{}, refused(handlers.ReasonHeader, name+" differs from the body")
	}
	if !slices.Contains(w.topics, e.TopicARN) {
		return handlers.Authentic{}, refused(handlers.ReasonTopic, "TopicArn is none of the configured topics")
	}
	signed := e.signed()
	content := sha256.Sum256(signed)
	if err := w.verify(&e, signed, content); err != nil {
		return handlers.Authentic{}, err
	}
	sent, err := time.Parse(time.RFC3339, e.Timestamp)
	age := r.Received.Sub(sent)
	return handlers.Authentic{
		Role:        e.role(),
		TransportID: e.TopicARN + "/" + e.MessageID,
		Content:     content,
		Sent:        sent,
		Stale:       err != nil || age > w.maxAge || age < -maxSkew,
	}, nil
}

// verify returns nil only if one of the keys made the envelope's signature.
func (w *webhook) verify(e *envelope, signed []byte, sum256 [32]byte) error {
	var digest []byte
	var hash crypto.Hash
	switch e.SignatureVersion {
	case "1":
		// Where only FIPS 140-3 algorithms may be used, SHA-1 panics.
		if fips140.Enforced() {
			return &handlers.UncheckableError{Detail: "SignatureVersion 1 needs SHA-1, which FIPS 140-3 forbids; have the topic use version 2"}
		}
		sum := sha1.Sum(signed)
		digest, hash = sum[:], crypto.SHA1
	case "2":
		digest, hash = sum256[:], crypto.SHA256
	default:
		return refused(handlers.ReasonSignature, "SignatureVersion is neither 1 nor 2")
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(e.Signature)
	if err != nil || len(signature) == 0 {
		return refused(handlers.ReasonSignature, "Signature is not base64")
	}
	for _, key := range w.keys {
		if rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil {
			return nil
		}
	}
	return refused(handlers.ReasonSignature, "no pinned certificate verifies it")
}

// agrees reports whether the headers that SNS sets, where they say anything,
// say what the body says, and which does not. They are not signed.
func (e *envelope) agrees(h http.Header) (name string, ok bool) {
	for _, header := range []struct{ name, value string }{
		{"X-Amz-Sns-Message-Type", e.Type},
		{"X-Amz-Sns-Message-Id", e.MessageID},
		{"X-Amz-Sns-Topic-Arn", e.TopicARN},
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
