package corastone_test

import (
	"sync"
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// sns is a stand-in of SNS with an authority, a host of its certificates, and
// a signer whose certificate is there.
type sns struct {
	*corastonetest.Authority
	host   *corastonetest.CertificateHost
	signer *corastonetest.Signer
}

var sharedAuthority = sync.OnceValues(corastonetest.NewAuthority)

func newSNS(t testing.TB) *sns {
	t.Helper()
	a, err := sharedAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := &sns{Authority: a, host: &corastonetest.CertificateHost{}}
	s.signer = s.certify(t, corastonetest.Leaf{})
	return s
}

// certify returns a signer whose envelopes name another certificate.
func (s *sns) certify(t testing.TB, l corastonetest.Leaf) *corastonetest.Signer {
	t.Helper()
	certified, err := s.host.Certify(s.Authority, signer(t), l)
	if err != nil {
		t.Fatal(err)
	}
	return certified
}

func (s *sns) sign(t testing.TB, e corastonetest.Envelope) corastonetest.Envelope {
	t.Helper()
	return signWith(t, s.signer, e)
}

func signWith(t testing.TB, s *corastonetest.Signer, e corastonetest.Envelope) corastonetest.Envelope {
	t.Helper()
	e, err := s.Sign(e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (s *sns) means() handlers.Means {
	return handlers.Means{Fetch: s.host.Fetch, Roots: s.Roots()}
}

// settings are those of a source that verifies what SNS signs. SNS serves no
// intermediate, so that must be in the bundle.
func (s *sns) settings(t testing.TB) *corastone.Settings {
	t.Helper()
	set := settings(t)
	set.Push.Signature = corastone.SignatureRequired
	set.Push.Certificates = nil
	set.Push.Regions = []string{"eu-central-1"}
	set.Push.CABundle = certificate("amazon.pem", s.Intermediate())
	return set
}

func (s *sns) open(t testing.TB) handlers.Webhook {
	t.Helper()
	return openWith(t, s.settings(t), s.means())
}

const secret = "c0rr3ct-h0rs3-b4tt3ry"

func headerSettings(t testing.TB, secrets ...string) *corastone.Settings {
	t.Helper()
	s := settings(t)
	s.Push.Signature = corastone.SignatureHeader
	s.Push.Certificates = nil
	s.Push.Header = &corastone.Header{Name: "x-push-secret"}
	if secrets == nil {
		secrets = []string{secret}
	}
	for _, value := range secrets {
		s.Push.Header.Secrets = append(s.Push.Header.Secrets, handlers.NewSecret(value))
	}
	return s
}

func offSettings(t testing.TB) *corastone.Settings {
	t.Helper()
	s := settings(t)
	s.Push.Signature = corastone.SignatureOff
	s.Push.Certificates = nil
	return s
}
