package corastone

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// minKeyBits is the size of SNS's keys.
const minKeyBits = 2048

// pins are the certificates that verify envelopes. What counts is their keys:
// a certificate past its date still verifies, because a silent refusal at
// midnight would be a loss.
type pins struct {
	keys         []*rsa.PublicKey // without repeats, in the order of the files
	certificates []pin
}

type pin struct {
	name     string
	notAfter time.Time
}

// readPins reads every certificate of files. It fails, naming the file, if one
// holds none, or anything that does not verify envelopes.
func readPins(files []handlers.File) (pins, error) {
	if len(files) == 0 {
		return pins{}, errors.New("push.certificates is empty: name the PEM files of the SNS certificates that sign")
	}
	var p pins
	var problems []error
	for _, file := range files {
		if len(file.Contents) == 0 {
			problems = append(problems, fmt.Errorf("push.certificates: %s holds no file", file.Path))
		}
		for _, contents := range file.Contents {
			if err := p.add(contents); err != nil {
				problems = append(problems, fmt.Errorf("push.certificates: %s: %w", contents.Path, err))
			}
		}
	}
	return p, errors.Join(problems...)
}

func (p *pins) add(contents handlers.Contents) error {
	blocks, rest := 0, contents.Data
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		cert, key, err := readPin(block)
		if err != nil {
			return err
		}
		name := contents.Path
		if blocks > 1 {
			name = fmt.Sprintf("%s#%d", name, blocks)
		}
		p.certificates = append(p.certificates, pin{name: name, notAfter: cert.NotAfter})
		if !slices.ContainsFunc(p.keys, func(k *rsa.PublicKey) bool { return k.Equal(key) }) {
			p.keys = append(p.keys, key)
		}
	}
	// pem.Decode skips what it can't read.
	if bytes.Count(contents.Data, []byte("-----BEGIN ")) != blocks {
		return errors.New("it has a PEM block that can't be read")
	}
	if blocks == 0 {
		return errors.New("it holds no PEM certificate")
	}
	return nil
}

func readPin(block *pem.Block) (*x509.Certificate, *rsa.PublicKey, error) {
	if block.Type != "CERTIFICATE" {
		return nil, nil, errors.New("it has a PEM block that is no CERTIFICATE")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, errors.New("it has a certificate that can't be read")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, nil, errors.New("its certificate has no RSA key, and SNS signs with RSA")
	}
	if key.N.BitLen() < minKeyBits {
		return nil, nil, fmt.Errorf("its certificate has an RSA key of %d bits, less than %d", key.N.BitLen(), minKeyBits)
	}
	return cert, key, nil
}

// warnings names the certificates that are past their date, or soon will be.
func (p pins) warnings(now time.Time) []string {
	var warnings []string
	for _, pin := range p.certificates {
		date := pin.notAfter.UTC().Format(time.DateOnly)
		switch left := pin.notAfter.Sub(now); {
		case left < 0:
			warnings = append(warnings, fmt.Sprintf("push.certificates: %s ended on %s; it still verifies, but ask for the one that followed it", pin.name, date))
		case left < 14*24*time.Hour:
			warnings = append(warnings, fmt.Sprintf("push.certificates: %s ends on %s; ask for the one that follows it", pin.name, date))
		}
	}
	return warnings
}
