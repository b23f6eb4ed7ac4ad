package corastone_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// serve returns a webhook, and an envelope whose URL leads to content.
func (s *sns) serve(t *testing.T, content []byte, e corastonetest.Envelope) (handlers.Webhook, handlers.Request) {
	t.Helper()
	at := corastonetest.CertificateURL("eu-central-1", content)
	s.host.Put(at, content)
	return s.open(t), request(signWith(t, signer(t).At(at), e))
}

func (s *sns) issue(t *testing.T, l corastonetest.Leaf) []byte {
	t.Helper()
	cert, err := s.Issue(signer(t), l)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificateIsBelievedOnlyIfAllOfItIsRight(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // to make a key that is too small
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(signer(t).Public().N, 7000)
	huge := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	stranger, err := corastonetest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	other, err := stranger.Issue(signer(t), corastonetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := signer(t).SelfIssued(corastonetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	another, err := corastonetest.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	sns := newSNS(t)
	good := sns.issue(t, corastonetest.Leaf{})
	at, _ := time.Parse(time.RFC3339, sent)
	second := time.Second
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"good":                       {good, ""},
		"space behind":               {append(slices.Clone(good), " \r\n\n"...), ""},
		"ends with the message":      {sns.issue(t, corastonetest.Leaf{To: at.Add(second)}), ""},
		"ended before the message":   {sns.issue(t, corastonetest.Leaf{To: at.Add(-second)}), "certificate"},
		"begins before the message":  {sns.issue(t, corastonetest.Leaf{From: at.Add(-second)}), ""},
		"begins after the message":   {sns.issue(t, corastonetest.Leaf{From: at.Add(second)}), "certificate"},
		"for something else":         {sns.issue(t, corastonetest.Leaf{Usage: x509.ExtKeyUsageCodeSigning}), ""},
		"of another authority":       {other, "certificate"},
		"of nobody":                  {alone, "certificate"},
		"of another host":            {sns.issue(t, corastonetest.Leaf{Name: "sns.eu-central-1.amazonaws.com"}), "certificate"},
		"RSA of 1024 bits":           {sns.issue(t, corastonetest.Leaf{Key: small.Public()}), "certificate"},
		"RSA of 9047 bits":           {sns.issue(t, corastonetest.Leaf{Key: huge}), "certificate"},
		"ECDSA":                      {sns.issue(t, corastonetest.Leaf{Key: curve.Public()}), "certificate"},
		"of another key":             {sns.issue(t, corastonetest.Leaf{Key: another.Public()}), "signature"},
		"the authority's own":        {sns.Intermediate(), "certificate"},
		"two":                        {slices.Concat(good, good), "certificate"},
		"its chain too":              {slices.Concat(good, sns.Intermediate()), "certificate"},
		"something behind":           {append(slices.Clone(good), "x"...), "certificate"},
		"something before":           {append([]byte("x\n"), good...), "certificate"},
		"line before":                {append([]byte("\n"), good...), "certificate"},
		"headers":                    {bytes.Replace(good, []byte("-----\n"), []byte("-----\nProc-Type: 4,ENCRYPTED\n\n"), 1), "certificate"},
		"of another type":            {bytes.ReplaceAll(good, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")), "certificate"},
		"a public key, they say":     {bytes.ReplaceAll(good, []byte("CERTIFICATE"), []byte("PUBLIC KEY")), "certificate"},
		"cut":                        {good[:len(good)-30], "certificate"},
		"broken":                     {bytes.Replace(good, []byte("M"), []byte("N"), 3), "certificate"},
		"empty":                      {[]byte{}, "certificate"},
		"HTML":                       {[]byte("<html>sign in to continue</html>"), "certificate"},
		"XML of a bucket":            {[]byte("<Error><Code>NoSuchKey</Code></Error>"), "certificate"},
		"good, behind another start": {append([]byte("-----BEGIN "), good...), "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			webhook, r := sns.serve(t, c.content, notification(`{"error":{"errorId":"a"}}`))
			for range 2 { // the second time it is known
				_, err := webhook.Authenticate(r)
				check(t, err, c.want)
			}
		})
	}
}

// TestChainMayComeFromTheSystemAndTheBundle, and from nowhere else.
func TestChainMayComeFromTheSystemAndTheBundle(t *testing.T) {
	sns := newSNS(t)
	none := x509.NewCertPool()
	for name, c := range map[string]struct {
		roots  *x509.CertPool
		bundle []byte
		want   string
	}{
		"root and bundle":            {sns.Roots(), sns.Intermediate(), ""},
		"both in the bundle":         {none, slices.Concat(sns.Intermediate(), sns.Root()), ""},
		"no system":                  {nil, slices.Concat(sns.Root(), sns.Intermediate()), ""},
		"no intermediate":            {sns.Roots(), nil, "certificate"},
		"only the root":              {none, sns.Root(), "certificate"},
		"intermediate makes no root": {none, sns.Intermediate(), "certificate"},
		"nobody":                     {nil, nil, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sns.settings(t)
			s.Push.CABundle = handlers.File{}
			if c.bundle != nil {
				s.Push.CABundle = certificate("amazon.pem", c.bundle)
			}
			webhook := openWith(t, s, handlers.Means{Fetch: sns.host.Fetch, Roots: c.roots})
			_, err := webhook.Authenticate(request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`))))
			check(t, err, c.want)
		})
	}
	if !none.Equal(x509.NewCertPool()) {
		t.Error("the bundle's root got into the pool of the system")
	}
}

// TestValidityIsJudgedAtTheTimestamp: a repeat of an old push is verified with
// a certificate that has ended since, and nothing newer is.
func TestValidityIsJudgedAtTheTimestamp(t *testing.T) {
	sns := newSNS(t)
	day := received.Truncate(time.Second)
	leaf := corastonetest.Leaf{From: day.AddDate(0, 0, -20), To: day.AddDate(0, 0, -10)}
	old := sns.certify(t, leaf)
	s := sns.settings(t)
	webhook := openWith(t, s, sns.means())
	for timestamp, c := range map[string]struct {
		want  string
		stale bool
	}{
		stamp(leaf.From.Add(-time.Second)):    {"certificate", false},
		stamp(leaf.From):                      {"", false},
		stamp(received.AddDate(0, 0, -15)):    {"", false},
		stamp(leaf.To.Add(-time.Millisecond)): {"", false},
		stamp(leaf.To.Add(time.Second)):       {"certificate", false},
		stamp(received):                       {"certificate", false},
		"0001-01-01T00:00:00Z":                {"certificate", false},
		"9999-12-31T23:59:59Z":                {"certificate", false},
		"yesterday":                           {"certificate", false}, // then it is the time of arrival
	} {
		e := notification(`{"error":{"errorId":"a"}}`)
		e.Timestamp = timestamp
		a, err := webhook.Authenticate(request(signWith(t, old, e)))
		t.Run(timestamp, func(t *testing.T) {
			check(t, err, c.want)
			if a.Stale != c.stale {
				t.Errorf("stale %v", a.Stale)
			}
		})
	}
	// Authentic, and too old to be believed.
	ancient := sns.certify(t, corastonetest.Leaf{})
	e := notification(`{"error":{"errorId":"a"}}`)
	e.Timestamp = "0001-01-01T00:00:00Z" // which some take for no time at all
	_, err := webhook.Authenticate(request(signWith(t, ancient, e)))
	check(t, err, "certificate")
	for _, timestamp := range []string{stamp(received.AddDate(0, -2, 0)), "yesterday"} {
		e := notification(`{"error":{"errorId":"a"}}`)
		e.Timestamp = timestamp
		a, err := webhook.Authenticate(request(signWith(t, ancient, e)))
		if err != nil || !a.Stale {
			t.Errorf("%s: %v, stale %v", timestamp, err, a.Stale)
		}
	}
}

// TestWholeChainMustBeValidAtTheTimestamp, also where the certificate was found
// to be good at another time.
func TestWholeChainMustBeValidAtTheTimestamp(t *testing.T) {
	sns := newSNS(t)
	day := received.Truncate(time.Second)
	renewed := func(from, to time.Time) []byte {
		cert, err := sns.Renew(from, to)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	// Between the two there is a gap of a day.
	s := sns.settings(t)
	s.Push.CABundle = certificate("amazon.pem", slices.Concat(
		renewed(day.AddDate(0, 0, -20), day.AddDate(0, 0, -10)), renewed(day.AddDate(0, 0, -9), day.AddDate(0, 0, -2))))
	webhook := openWith(t, s, sns.means())
	for range 2 {
		for days, want := range map[int]string{-21: "certificate", -19: "", -11: "", -8: "", -3: "", -1: "certificate", 0: "certificate"} {
			e := notification(`{"error":{"errorId":"a"}}`)
			e.Timestamp = stamp(day.AddDate(0, 0, days))
			_, err := webhook.Authenticate(request(sns.sign(t, e)))
			check(t, err, want)
		}
		e := notification(`{"error":{"errorId":"a"}}`)
		e.Timestamp = stamp(day.AddDate(0, 0, -10).Add(12 * time.Hour))
		_, err := webhook.Authenticate(request(sns.sign(t, e)))
		check(t, err, "certificate")
	}
}

func stamp(at time.Time) string { return at.UTC().Format(corastonetest.TimeLayout) }

// TestIntermediatesOfSNSAreKnown: they are genuine if a root that this machine
// trusts has issued them.
func TestIntermediatesOfSNSAreKnown(t *testing.T) {
	file := readFile(t, "intermediates.pem")
	certificates := parse(t, file)
	if len(certificates) != 4 {
		t.Fatalf("%d certificates", len(certificates))
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Skipf("this machine trusts nobody: %v", err)
	}
	for i, c := range certificates {
		if want := fmt.Sprintf("Amazon RSA 2048 M0%d", i+1); c.Subject.CommonName != want || !c.IsCA {
			t.Errorf("%s is not %s", c.Subject, want)
		}
		// Not now: this is about who issued it.
		chains, err := c.Verify(x509.VerifyOptions{Roots: system, CurrentTime: c.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			t.Skip("this machine does not trust Amazon")
		}
		if err != nil || !strings.HasPrefix(chains[0][1].Subject.CommonName, "Amazon Root CA") {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data []byte) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}
