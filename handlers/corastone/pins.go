package corastone

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// SNS's keys have 2048 bits. Larger ones are slow to verify with, and from
// some size on an attack.
const (
	minKeyBits = 2048
	maxKeyBits = 8192
)

// pins are the keys of the certificates that verify envelopes. What counts is
// the key: a certificate past its date still verifies, because a silent
// refusal at midnight would be a loss.
type pins []*rsa.PublicKey // without repeats, in the order of the files

// readPins reads every certificate of files. It fails, naming the file, if one
// holds none, or anything that does not verify envelopes.
func readPins(files []handlers.File) (pins, []named, error) {
	if len(files) == 0 {
		return nil, nil, errors.New("push.certificates is empty: name the PEM files of the SNS certificates that sign")
	}
	certificates, err := readCertificates("push.certificates", files, func(c *x509.Certificate) error {
		_, err := signingKey(c)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var p pins
	for _, c := range certificates {
		key, err := signingKey(c.Certificate)
		if err != nil {
			return nil, nil, err
		}
		if !slices.ContainsFunc(p, func(k *rsa.PublicKey) bool { return k.Equal(key) }) {
			p = append(p, key)
		}
	}
	return p, certificates, nil
}

// signingKey returns the key of c if SNS could sign with it.
func signingKey(c *x509.Certificate) (*rsa.PublicKey, error) {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("its certificate has no RSA key, and SNS signs with RSA")
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("its certificate has an RSA key of %d bits, not %d to %d", bits, minKeyBits, maxKeyBits)
	}
	return key, nil
}

// verify implements the check of [webhook].
func (p pins) verify(e *envelope, c content, _ time.Time) error {
	s, err := readSignature(e, c)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(p, s.by) {
		return refused(handlers.ReasonSignature, "no pinned certificate verifies it")
	}
	return nil
}
