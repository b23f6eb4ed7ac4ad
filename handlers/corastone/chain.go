package corastone

import (
	"bytes"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// intermediates are Amazon RSA 2048 M01 to M04, which Amazon Root CA 1 issued
// and which sign the certificates of SNS: SNS serves those alone. They end in
// August 2030. Being here makes them known, not trusted: what counts is the
// root. https://www.amazontrust.com/repository/
//
//go:embed intermediates.pem
var intermediates string

// authorities say which certificates are believed.
type authorities struct {
	roots, between *x509.CertPool
}

// newAuthorities returns those of roots, and of what bundle adds.
func newAuthorities(roots *x509.CertPool, bundle []named) authorities {
	a := authorities{roots: x509.NewCertPool(), between: x509.NewCertPool()}
	if roots != nil {
		a.roots = roots.Clone()
	}
	a.between.AppendCertsFromPEM([]byte(intermediates))
	for _, c := range bundle {
		if selfIssued(c.Certificate) {
			a.roots.AddCert(c.Certificate)
		} else {
			a.between.AddCert(c.Certificate)
		}
	}
	return a
}

// selfIssued reports whether c is a root.
func selfIssued(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil
}

// span is a time in which a chain is valid.
type span struct{ from, to time.Time }

func (s span) holds(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

// spanOf returns when all of chain is valid.
func spanOf(chain ...*x509.Certificate) span {
	s := span{chain[0].NotBefore, chain[0].NotAfter}
	for _, c := range chain[1:] {
		if c.NotBefore.After(s.from) {
			s.from = c.NotBefore
		}
		if c.NotAfter.Before(s.to) {
			s.to = c.NotAfter
		}
	}
	return s
}

// chains returns when the chains are valid that lead from leaf to a root and
// are valid at a time. It fails if there is none. What a certificate is for is
// not looked at: SNS's are for TLS servers.
func (a authorities) chains(leaf *x509.Certificate, at time.Time) ([]span, error) {
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         a.roots,
		Intermediates: a.between,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	spans := make([]span, 0, len(chains))
	for _, chain := range chains {
		spans = append(spans, spanOf(chain...))
	}
	return spans, nil
}

// named is a certificate of a file.
type named struct {
	name string
	*x509.Certificate
}

// readCertificates reads every certificate of the files that a setting names.
// It fails, naming setting and file, if one holds none, or anything else, or
// one that check doesn't like.
func readCertificates(setting string, files []handlers.File, check func(*x509.Certificate) error) ([]named, error) {
	var all []named
	var problems []error
	for _, file := range files {
		if len(file.Contents) == 0 {
			problems = append(problems, fmt.Errorf("%s: %s holds no file", setting, file.Path))
		}
		for _, contents := range file.Contents {
			certificates, err := readPEM(contents, check)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %s: %w", setting, contents.Path, err))
			}
			all = append(all, certificates...)
		}
	}
	return all, errors.Join(problems...)
}

func readPEM(contents handlers.Contents, check func(*x509.Certificate) error) ([]named, error) {
	var all []named
	for rest := contents.Data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("it has a PEM block that is no CERTIFICATE")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it has a certificate that can't be read")
		}
		if err := check(cert); err != nil {
			return nil, err
		}
		name := contents.Path
		if len(all) > 0 {
			name = fmt.Sprintf("%s#%d", name, len(all)+1)
		}
		all = append(all, named{name, cert})
	}
	// pem.Decode skips what it can't read.
	if bytes.Count(contents.Data, []byte("-----BEGIN ")) != len(all) {
		return nil, errors.New("it has a PEM block that can't be read")
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	return all, nil
}

// issues is nil if c may issue certificates.
func issues(c *x509.Certificate) error {
	if !c.IsCA {
		return errors.New("it has a certificate that may not issue others; name those of authorities")
	}
	return nil
}

// expiry returns when certificates end, for those who watch that.
func expiry(certificates []named) []handlers.Certificate {
	var all []handlers.Certificate
	for _, c := range certificates {
		all = append(all, handlers.Certificate{Name: c.name, NotAfter: c.NotAfter})
	}
	return all
}

// ending returns a warning for each certificate of a setting that is past its
// date, or soon will be. It says what that means and what to do.
func ending(setting string, certificates []named, now time.Time, means, todo string) []string {
	var warnings []string
	for _, c := range certificates {
		date := c.NotAfter.UTC().Format(time.DateOnly)
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			warnings = append(warnings, fmt.Sprintf("%s: %s ended on %s; %s", setting, c.name, date, means))
		case left < 14*24*time.Hour:
			warnings = append(warnings, fmt.Sprintf("%s: %s ends on %s; %s", setting, c.name, date, todo))
		}
	}
	return warnings
}
