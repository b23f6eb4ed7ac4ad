package corastonetest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// Key returns the signer's private key in PEM (PKCS #8).
func (s *Signer) Key() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ReadSigner returns the signer with an RSA key in PEM, of PKCS #8 or #1. It
// has no certificate but those that SelfSigned makes. The error says nothing
// of the key.
func ReadSigner(keyPEM []byte) (*Signer, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("holds no PEM block")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return &Signer{key: key}, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds no private key in PKCS #8 or PKCS #1 without a password")
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("holds a key that is not RSA, and SNS signs with RSA")
	}
	return &Signer{key: private}, nil
}
