// Package corastonetest is a stand-in of Corastone's platform: a [Ledger] that
// obeys the documented state machines, serves the Integration API's reads and
// says what happens on it, by hand or as a [Scenario] tells; a [Node] that makes
// up Sequence Entries and wraps them into SNS envelopes signed with a key of
// its own; and a [Pusher] and a [Courier] that push them as SNS does, on good
// days and bad ones. It serves tests, benchmarks and the demo. It reaches no
// network but the URL it is given.
package corastonetest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1, the default of SNS topics
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

// Signer signs envelopes as SNS does. It is safe for concurrent use.
type Signer struct {
	key         *rsa.PrivateKey
	certificate []byte
	url         string // of its certificate
}

// NewSigner returns a signer with a new RSA key of 2048 bits and a certificate
// that is good for a year.
func NewSigner() (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s := &Signer{key: key}
	now := time.Now()
	s.certificate, err = s.SelfSigned(now.Add(-time.Hour), now.AddDate(1, 0, 0))
	return s, err
}

var shared = sync.OnceValues(NewSigner)

// Shared returns the same signer whenever it is called in a process: making a
// key takes a while.
func Shared() (*Signer, error) { return shared() }

// Certificate returns the signer's certificate in PEM, to be pinned.
func (s *Signer) Certificate() []byte { return s.certificate }

// SelfSigned returns another certificate of the same key in PEM.
func (s *Signer) SelfSigned(from, to time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()),
		Subject:      pkix.Name{CommonName: "sns.example"},
		NotBefore:    from,
		NotAfter:     to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// At returns a signer with the same key whose envelopes say that their
// certificate is at a URL.
func (s *Signer) At(url string) *Signer { return &Signer{s.key, s.certificate, url} }

// URL returns where the signer's certificate is, "" if nowhere.
func (s *Signer) URL() string { return s.url }

// Public returns the signer's key.
func (s *Signer) Public() *rsa.PublicKey { return &s.key.PublicKey }

// Sign returns e with its signature. An empty SignatureVersion becomes "1",
// which is what SNS topics do unless told otherwise, and an empty
// SigningCertURL what [Signer.At] says.
func (s *Signer) Sign(e Envelope) (Envelope, error) {
	if e.SignatureVersion == "" {
		e.SignatureVersion = "1"
	}
	if e.SigningCertURL == "" {
		e.SigningCertURL = s.url
	}
	text := []byte(e.stringToSign())
	var signature []byte
	var err error
	switch e.SignatureVersion {
	case "1":
		sum := sha1.Sum(text)
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA1, sum[:])
	case "2":
		sum := sha256.Sum256(text)
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	default:
		return Envelope{}, fmt.Errorf("SNS knows no SignatureVersion %q", e.SignatureVersion)
	}
	e.Signature = base64.StdEncoding.EncodeToString(signature)
	return e, err
}

// stringToSign is written from Amazon's description and not shared with the
// code under test, so that a slip in one of them shows.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
func (e Envelope) stringToSign() string {
	lines := []string{"Message", e.Message, "MessageId", e.MessageID}
	if e.Type == TypeNotification {
		if e.Subject != nil {
			lines = append(lines, "Subject", *e.Subject)
		}
		lines = append(lines, "Timestamp", e.Timestamp)
	} else {
		lines = append(lines, "SubscribeURL", e.SubscribeURL, "Timestamp", e.Timestamp, "Token", e.Token)
	}
	lines = append(lines, "TopicArn", e.TopicARN, "Type", e.Type)
	return strings.Join(lines, "\n") + "\n"
}
