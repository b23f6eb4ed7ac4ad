package corastone_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
)

// selfSigned returns a certificate of another key than SNS has.
func selfSigned(t *testing.T, public, private any) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestSourceDoesNotOpenUnlessItAuthenticates(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // to make a key that is too small
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := signer(t).Certificate()
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hush")})
	files := func(f ...handlers.File) func(*corastone.Settings) {
		return func(s *corastone.Settings) { s.Push.Certificates = f }
	}
	required := func(regions ...string) func(*corastone.Settings) {
		return func(s *corastone.Settings) {
			s.Push.Signature, s.Push.Regions = corastone.SignatureRequired, regions
		}
	}
	bundle := func(f handlers.File) func(*corastone.Settings) {
		return func(s *corastone.Settings) {
			required("eu-central-1")(s)
			s.Push.CABundle = f
		}
	}
	for name, c := range map[string]struct {
		spoil func(*corastone.Settings)
		want  []string
	}{
		"required, no regions":  {required(), []string{"push.regions", "us-east-1"}},
		"required, not fetched": {required("eu-central-1"), []string{"push.signature", "fetch"}},
		"region misspelt":       {required("eu-central-1", "eu-central"), []string{"push.regions[1]"}},
		"region of a bucket":    {required("eu-central-1", "s3-us-west-2"), []string{"push.regions[1]"}},
		"region and a host":     {required("eu-central-1", "us-east-1.evil.example#"), []string{"push.regions[1]"}},
		"region in capitals":    {required("EU-CENTRAL-1"), []string{"push.regions[0]", "push.topics[0]"}},
		"isolated region":       {required("eu-central-1", "us-iso-east-1", "eu-isoe-west-1", "eusc-de-east-1"), []string{"push.regions[1]", "push.regions[2]", "push.regions[3]"}},
		"topic elsewhere":       {required("us-east-1"), []string{"push.topics[0]", "push.regions"}},
		"bundle unread":         {bundle(handlers.File{Path: "folder"}), []string{"push.ca_bundle", "folder"}},
		"bundle empty":          {bundle(certificate("a.pem", nil)), []string{"push.ca_bundle", "a.pem"}},
		"bundle text":           {bundle(certificate("a.pem", []byte("hello"))), []string{"push.ca_bundle", "a.pem"}},
		"bundle with a key":     {bundle(certificate("a.pem", private)), []string{"push.ca_bundle", "a.pem"}},
		"bundle with a leaf":    {bundle(certificate("a.pem", good)), []string{"push.ca_bundle", "a.pem", "authorities"}},
		"header":                {func(s *corastone.Settings) { s.Push.Signature = corastone.SignatureHeader }, []string{"push.header"}},
		"unknown signature":     {func(s *corastone.Settings) { s.Push.Signature = "none" }, []string{"push.signature", "pinned"}},
		"no signature":          {func(s *corastone.Settings) { s.Push.Signature = "" }, []string{"push.signature"}},
		"client_ca unread":      {func(s *corastone.Settings) { s.Push.ClientCA.Path = "ca.pem" }, []string{"push.client_ca", "ca.pem"}},
		"client_ca empty":       {func(s *corastone.Settings) { s.Push.ClientCA = certificate("ca.pem", nil) }, []string{"push.client_ca", "ca.pem"}},
		"client_ca with a key":  {func(s *corastone.Settings) { s.Push.ClientCA = certificate("ca.pem", slices.Concat(good, private)) }, []string{"push.client_ca", "ca.pem"}},
		"confirm_subscriptions": {func(s *corastone.Settings) { s.Push.ConfirmSubscriptions = true }, []string{"push.confirm_subscriptions"}},
		"nobody allowed":        {func(s *corastone.Settings) { s.Push.Allow = nil }, []string{"push.allow"}},
		"no prefix":             {func(s *corastone.Settings) { s.Push.Allow = make([]handlers.Prefix, 1) }, []string{"push.allow[0]"}},
		"no topics":             {func(s *corastone.Settings) { s.Push.Topics = nil }, []string{"push.topics"}},
		"no topic":              {func(s *corastone.Settings) { s.Push.Topics = append(s.Push.Topics, "mine") }, []string{"push.topics[1]"}},
		"topic and a space":     {func(s *corastone.Settings) { s.Push.Topics[0] += " " }, []string{"push.topics[0]"}},
		"no age":                {func(s *corastone.Settings) { s.Push.MaxAge = 0 }, []string{"push.max_age"}},
		"longer than claims":    {func(s *corastone.Settings) { s.Push.MaxAge = handlers.Duration(30*24*time.Hour + 1) }, []string{"push.max_age"}},
		"several at once": {
			func(s *corastone.Settings) { s.Push.Allow, s.Push.Topics, s.Push.Certificates = nil, nil, nil },
			[]string{"push.allow", "push.topics", "push.certificates"},
		},
		"no certificates":         {files(), []string{"push.certificates"}},
		"unread file":             {files(handlers.File{Path: "folder"}), []string{"push.certificates", "folder"}},
		"empty file":              {files(certificate("a.pem", nil)), []string{"a.pem"}},
		"text":                    {files(certificate("a.pem", []byte("hello"))), []string{"a.pem"}},
		"DER":                     {files(certificate("a.pem", func() []byte { b, _ := pem.Decode(good); return b.Bytes }())), []string{"a.pem"}},
		"private key":             {files(certificate("a.pem", private)), []string{"a.pem"}},
		"and a private key":       {files(certificate("a.pem", slices.Concat(good, private))), []string{"a.pem"}},
		"other PEM":               {files(certificate("a.pem", func() []byte { b, _ := pem.Decode(good); b.Type = "TRUSTED CERTIFICATE"; return pem.EncodeToMemory(b) }())), []string{"a.pem"}},
		"broken after good":       {files(certificate("a.pem", slices.Concat(good, good[:len(good)-10]))), []string{"a.pem"}},
		"broken before good":      {files(certificate("a.pem", slices.Concat(good[:100], []byte("\n"), good))), []string{"a.pem"}},
		"broken inside":           {files(certificate("a.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))), []string{"a.pem"}},
		"second file bad":         {files(certificate("a.pem", good), certificate("b.pem", nil)), []string{"b.pem"}},
		"key too small":           {files(certificate("a.pem", selfSigned(t, small.Public(), small))), []string{"a.pem", "1024"}},
		"key of another kind":     {files(certificate("a.pem", selfSigned(t, curve.Public(), curve))), []string{"a.pem", "RSA"}},
		"nothing pushes":          {func(s *corastone.Settings) { s.Push = nil }, []string{"push"}},
		"nothing pushes, but api": {func(s *corastone.Settings) { s.Push, s.API = nil, &corastone.API{} }, []string{"push"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(t)
			c.spoil(s)
			source, err := corastone.Platform().Open("corastone", s, handlers.Means{})
			if err == nil {
				t.Fatalf("it opened: %+v", source)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not name %q: %v", want, err)
				}
			}
			if got := errors.Is(err, handlers.ErrNoPush); got != (s.Push == nil) {
				t.Errorf("is ErrNoPush: %v", got)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("error holds a key: %v", err)
			}
		})
	}
	if _, err := corastone.Platform().Open("corastone", corastone.Settings{}, handlers.Means{}); err == nil {
		t.Error("other settings opened")
	}
}

func TestDefaultsDoNotOpen(t *testing.T) {
	if _, err := corastone.Platform().Open("corastone", corastone.Platform().Settings(), handlers.Means{}); err == nil {
		t.Error("the defaults opened")
	}
}

func TestOpenSourceSaysWhoMayCallAndWhatExpires(t *testing.T) {
	s := settings(t)
	ends := time.Now().AddDate(0, 0, 100).UTC().Truncate(time.Second)
	soon := time.Now().AddDate(0, 0, 3).UTC().Truncate(time.Second)
	past := time.Now().AddDate(0, 0, -3).UTC().Truncate(time.Second)
	var all []byte
	for _, to := range []time.Time{ends, soon} {
		cert, err := signer(t).SelfSigned(past.AddDate(-1, 0, 0), to)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cert...)
	}
	old, err := signer(t).SelfSigned(past.AddDate(-1, 0, 0), past)
	if err != nil {
		t.Fatal(err)
	}
	s.Push.Certificates = []handlers.File{certificate("certs/all.pem", all), certificate("certs/old.pem", old)}
	s.Push.Allow = append(s.Push.Allow, handlers.Prefix{Prefix: netip.MustParsePrefix("2001:db8::/32")})
	source, err := corastone.Platform().Open("main-node", s, handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	if source.Name != "main-node" || source.Platform != corastone.Name {
		t.Errorf("source is %s of %s", source.Name, source.Platform)
	}
	wantAllow := []netip.Prefix{netip.MustParsePrefix("127.0.0.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(source.Push.Allow, wantAllow) {
		t.Errorf("allow %v", source.Push.Allow)
	}
	wantCertificates := []handlers.Certificate{{Name: "certs/all.pem", NotAfter: ends}, {Name: "certs/all.pem#2", NotAfter: soon}, {Name: "certs/old.pem", NotAfter: past}}
	if diff := cmp.Diff(wantCertificates, source.Push.Certificates); diff != "" {
		t.Errorf("certificates (-want +got):\n%s", diff)
	}
	for i, want := range []string{"certs/all.pem#2 ends on ", "certs/old.pem ended on "} {
		if i >= len(source.Warnings) || !strings.Contains(source.Warnings[i], want) {
			t.Errorf("warnings %q, want one about %q", source.Warnings, want)
		}
	}
	// Its owner may change the settings; the source stays what it is.
	s.Push.Topics[0] = "changed"
	e := sign(t, notification(`{"error":{"errorId":"a"}}`))
	if _, err := source.Push.Webhook.Authenticate(request(e)); err != nil {
		t.Errorf("a certificate past its date does not verify, or the source changed with its settings: %v", err)
	}
}

// TestContractsConfigurationIsRead decodes a source as subscribers' operators
// write it, strictly and with the validation rules.
func TestContractsConfigurationIsRead(t *testing.T) {
	const text = `
push:
  allow: [203.0.113.10, 203.0.113.0/28, "2001:db8::1"]
  topics: ["arn:aws:sns:eu-central-1:111122223333:integration-api-notifications-ng204"]
  signature: pinned
  regions: [eu-central-1]
  certificates: [sns.pem, more]
  header: {name: X-Push-Secret, secrets: [{file: f}, {env: E}]}
  confirm_subscriptions: false
  max_age: 20d
api: {url: "https://integration-api.ng204.example", org_id: NG204, client_id: X, client_secret: {file: f}, scopes: [], paths: {}}
poll: {interval: 60s, overlap: 10m, from: now}
follow_up: {enabled: true, give_up_after: 72h}
reconcile: {every: 24h, window: 72h}
`
	s := corastone.Platform().Settings().(*corastone.Settings)
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(s); err != nil {
		t.Fatal(err)
	}
	if err := validator.New(validator.WithRequiredStructEnabled()).Struct(s); err != nil {
		t.Fatal(err)
	}
	if got := s.Push.MaxAge.Std(); got != 20*24*time.Hour {
		t.Errorf("max_age %v", got)
	}
	for i := range s.Push.Certificates {
		s.Push.Certificates[i].Contents = []handlers.Contents{{Path: "sns.pem", Data: signer(t).Certificate()}}
	}
	s.Push.Allow = append(s.Push.Allow, handlers.Prefix{Prefix: netip.MustParsePrefix("0.0.0.0/0")})
	s.API.ClientSecret = s.API.ClientSecret.WithValue("hush")
	source, err := corastone.Platform().Open("corastone", s, handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	for _, about := range []string{"push.regions", "push.header", "push.allow"} {
		if !slices.ContainsFunc(source.Warnings, func(w string) bool { return strings.HasPrefix(w, about+" ") }) {
			t.Errorf("no warning about %s in %q", about, source.Warnings)
		}
	}
	for _, quiet := range []string{"2025-12-31", "2025-12-31T00:00:00Z", "2025-12-31T01:00:00+01:00"} {
		s.Poll.From = quiet
		if err := validator.New(validator.WithRequiredStructEnabled()).Struct(s); err != nil {
			t.Errorf("from: %s: %v", quiet, err)
		}
	}
	s.Poll.From = "tomorrow"
	if err := validator.New(validator.WithRequiredStructEnabled()).Struct(s); err == nil {
		t.Error("from: tomorrow is valid")
	}
}

// TestCallersCertificatesMayBeWantedInAnyWay, and by default none is.
func TestCallersCertificatesMayBeWantedInAnyWay(t *testing.T) {
	sns := newSNS(t)
	for _, s := range []*corastone.Settings{settings(t), sns.settings(t), headerSettings(t), offSettings(t)} {
		source, err := corastone.Platform().Open("corastone", s, sns.means())
		if err != nil || source.Push.ClientCAs != nil {
			t.Errorf("%s: %v, wants %d", s.Push.Signature, err, len(source.Push.ClientCAs))
		}
		s.Push.ClientCA = certificate("ca.pem", slices.Concat(sns.Root(), sns.Intermediate()))
		source, err = corastone.Platform().Open("corastone", s, sns.means())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range source.Push.ClientCAs {
			got = append(got, c.Subject.CommonName)
		}
		if diff := cmp.Diff([]string{"Stand-in Root", "Stand-in M01"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Push.Signature, diff)
		}
		if !slices.ContainsFunc(source.Push.Certificates, func(c handlers.Certificate) bool { return c.Name == "ca.pem#2" }) {
			t.Errorf("%s: nobody sees when it ends: %v", s.Push.Signature, source.Push.Certificates)
		}
	}
}
