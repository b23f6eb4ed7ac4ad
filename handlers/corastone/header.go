package corastone

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/seed75441868/postern/handlers"
)

// sharedSecret is a header that must have one of some values.
type sharedSecret struct {
	name    string // in its canonical form
	digests [][sha256.Size]byte
}

// shortSecret is what a secret should not be shorter than.
const shortSecret = 16

// readHeader reads the settings of the header.
func readHeader(h *Header) (*sharedSecret, []string, error) {
	if h == nil {
		return nil, nil, errors.New("push.header is missing: with signature: header it says which header holds which secrets")
	}
	var problems []error
	var warnings []string
	s := &sharedSecret{name: http.CanonicalHeaderKey(h.Name)}
	if !usable(s.name) {
		problems = append(problems, errors.New(`push.header.name is no header that a caller could set for this, like "X-Push-Secret"`))
	}
	if len(h.Secrets) == 0 {
		problems = append(problems, errors.New("push.header.secrets is empty: name the secret, and during a rotation the next one too"))
	}
	for i, secret := range h.Secrets {
		value := secret.Value()
		digest := sha256.Sum256([]byte(value))
		switch {
		case value == "":
			problems = append(problems, fmt.Errorf("push.header.secrets[%d] is empty", i))
		case strings.TrimSpace(value) != value || strings.ContainsFunc(value, notInHeader):
			problems = append(problems, fmt.Errorf("push.header.secrets[%d] has characters that a header can't hold: use letters and digits, like those of `openssl rand -hex 24`", i))
		case slices.Contains(s.digests, digest):
			problems = append(problems, fmt.Errorf("push.header.secrets[%d] is there twice", i))
		case len(value) < shortSecret:
			warnings = append(warnings, fmt.Sprintf("push.header.secrets[%d] is short; use at least %d random characters, like `openssl rand -hex 24`", i, shortSecret))
		}
		s.digests = append(s.digests, digest)
	}
	return s, warnings, errors.Join(problems...)
}

// usable reports whether a header may hold a secret: that it is a token
// (RFC 9110, 5.1), and neither one that connections use up nor one of SNS.
func usable(name string) bool {
	switch name {
	case "", "Host", "Connection", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect":
		return false
	}
	return !strings.HasPrefix(name, "X-Amz-Sns-") && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", r)
	})
}

// notInHeader reports whether r is a character that not every proxy passes on.
func notInHeader(r rune) bool { return r < ' ' || r > '~' }

// check returns nil if h has the header once, with one of the values. How long
// it takes says nothing of them, nor which of them it was.
func (s *sharedSecret) check(h http.Header) error {
	values := h[s.name]
	if len(values) != 1 {
		return refused(handlers.ReasonHeader, "the header with the shared secret is not there, or more than once")
	}
	given := sha256.Sum256([]byte(values[0]))
	same := 0
	for _, digest := range s.digests {
		same |= subtle.ConstantTimeCompare(given[:], digest[:])
	}
	if same != 1 {
		return refused(handlers.ReasonHeader, "the header holds none of the shared secrets")
	}
	return nil
}
