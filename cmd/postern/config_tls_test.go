package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestCertificatesAreChecked(t *testing.T) {
	cert, key := certificate(t)
	otherCert, otherKey := certificate(t)
	t.Chdir(t.TempDir())
	write(t, "cert.pem", cert)
	write(t, "key.pem", key)
	write(t, "other.pem", otherCert)
	write(t, "other.key", otherKey)
	write(t, "seal.key", keyA)
	write(t, "p.key", keyB)
	const external = "seal: {keys: [{file: seal.key}]}\npseudonyms: {key: {file: p.key}}\nnats: {url: 'tls://host:4222', tls: "
	for _, tt := range []struct{ name, config, want string }{
		{"a pair", "ingress: {tls: {cert: cert.pem, key: key.pem}}", ""},
		{
			"not a pair", "ingress: {tls: {cert: cert.pem, key: other.key}}",
			"config.yaml:1:11: ingress.tls has a certificate and a key that don't work together: private key does not match public key",
		},
		{"swapped", "ops: {tls: {cert: key.pem, key: cert.pem}}", "config.yaml:1:7: ops.tls has a certificate and a key"},
		{"no key", "nats: {embedded: {tls: {cert: cert.pem}}}", "nats.embedded.tls.key is missing"},
		{"roots", external + "{ca: cert.pem}}", ""},
		{"client", external + "{ca: cert.pem, cert: other.pem, key: other.key}}", ""},
		{"not a client pair", external + "{cert: other.pem, key: key.pem}}", "nats.tls has a certificate and a key"},
		{"no roots", external + "{ca: key.pem}}", "nats.tls.ca names key.pem, which holds no certificate in PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(t, "config.yaml", tt.config)
			cfg, err := loadConfig([]string{"config.yaml"}, nil, fakes())
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c := cfg.NATS.TLS; c != nil && c.Config().RootCAs == nil {
					t.Error("the roots are not in use")
				}
				if c := cfg.NATS.TLS; c != nil && c.Cert != "" && len(c.Config().Certificates) != 1 {
					t.Error("the certificate is not in use")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestCorastone checks that a source of a real platform opens, and that what
// it refuses is told where it stands.
func TestCorastone(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	write(t, "pin.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	const good = `sources:
  desk:
    platform: corastone
    push:
      allow: [198.51.100.4, 198.51.100.128/25]
      topics: ["arn:aws:sns:eu-central-1:210987654321:activity"]
      signature: pinned
      certificates: [pin.pem]
      max_age: 20d
`
	write(t, "config.yaml", good)
	cfg, err := loadConfig([]string{"config.yaml"}, nil, platforms())
	if err != nil {
		t.Fatal(err)
	}
	push := cfg.Sources[0].Opened.Push
	if cfg.Sources[0].Name != "desk" || push == nil || len(push.Allow) != 2 || len(push.Certificates) != 1 || push.Webhook == nil {
		t.Errorf("opened %+v", cfg.Sources[0].Opened)
	}

	fetched := strings.ReplaceAll(good, "signature: pinned", "signature: required\n      regions: [eu-central-1]")
	write(t, "config.yaml", fetched)
	if _, err := loadConfig([]string{"config.yaml"}, nil, platforms()); err != nil {
		t.Errorf("certificates can't be fetched: %v", err)
	}
	write(t, "config.yaml", strings.ReplaceAll(fetched, "[eu-central-1]", "[eu-west-1]"))
	_, err = loadConfig([]string{"config.yaml"}, nil, platforms())
	var wrong *configError
	if !errors.As(err, &wrong) || len(wrong.problems) != 1 || wrong.problems[0].Line != 6 {
		t.Errorf("a topic of another region is told as %v", err)
	}
}
