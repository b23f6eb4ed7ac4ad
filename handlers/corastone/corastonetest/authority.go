package corastonetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// Authority is a stand-in of those who issue SNS its certificates: a root, and
// an intermediate that signs. Both are good from 2020 to 2120.
type Authority struct {
	root, intermediate *x509.Certificate
	rootKey, key       *ecdsa.PrivateKey
}

// NewAuthority returns an authority with new keys.
func NewAuthority() (*Authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := issue(authority("Stand-in Root"), nil, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	intermediate, err := issue(authority("Stand-in M01"), root, key.Public(), rootKey)
	return &Authority{root: root, intermediate: intermediate, rootKey: rootKey, key: key}, err
}

// Renew returns another certificate of the intermediate in PEM, which is good
// for another time.
func (a *Authority) Renew(from, to time.Time) ([]byte, error) {
	template := authority(a.intermediate.Subject.CommonName)
	template.NotBefore, template.NotAfter = from, to
	renewed, err := issue(template, a.root, a.key.Public(), a.rootKey)
	if err != nil {
		return nil, err
	}
	return encode(renewed), nil
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Stand-in"}, CommonName: name},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

// issue makes a certificate; without a parent it signs itself.
func issue(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Roots returns a pool with the root.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// Root returns the root in PEM.
func (a *Authority) Root() []byte { return encode(a.root) }

// Intermediate returns the intermediate in PEM. Like SNS, nobody else serves
// it.
func (a *Authority) Intermediate() []byte { return encode(a.intermediate) }

// Leaf says what a certificate that signs looks like.
type Leaf struct {
	Region   string           // "": that of [Topic]
	Name     string           // DNS name that it is issued to; "": sns.amazonaws.com
	From, To time.Time        // zero: from 2025 to 2035
	Key      crypto.PublicKey // nil: the signer's
	Usage    x509.ExtKeyUsage // 0: TLS servers, as of SNS's
}

// Issue returns a certificate of a signer in PEM.
func (a *Authority) Issue(s *Signer, l Leaf) ([]byte, error) {
	cert, err := issue(l.template(), a.intermediate, l.public(s), a.key)
	if err != nil {
		return nil, err
	}
	return encode(cert), nil
}

// SelfIssued returns the same certificate of a signer as [Authority.Issue],
// in PEM, signed by nobody but the signer.
func (s *Signer) SelfIssued(l Leaf) ([]byte, error) {
	cert, err := issue(l.template(), nil, l.public(s), s.key)
	if err != nil {
		return nil, err
	}
	return encode(cert), nil
}

func (l Leaf) public(s *Signer) crypto.PublicKey {
	if l.Key != nil {
		return l.Key
	}
	return s.key.Public()
}

func (l Leaf) template() *x509.Certificate {
	if l.Name == "" {
		l.Name = "sns.amazonaws.com"
	}
	if l.From.IsZero() {
		l.From = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if l.To.IsZero() {
		l.To = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if l.Usage == x509.ExtKeyUsageAny {
		l.Usage = x509.ExtKeyUsageServerAuth
	}
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: l.Name},
		DNSNames:    []string{l.Name},
		NotBefore:   l.From,
		NotAfter:    l.To,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{l.Usage},
	}
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
