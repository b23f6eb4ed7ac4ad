package corastone_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// Where the certificates of these tests are: every digit counts.
const (
	frankfurt = "https://sns.eu-central-1.amazonaws.com/"
	file      = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
)

// badURLs are all that a SigningCertURL might be but the one thing that it may
// be. For none of them anything may be asked of anybody.
var badURLs = []string{
	// Not https.
	"http://sns.eu-central-1.amazonaws.com/" + file,
	"HTTPS://sns.eu-central-1.amazonaws.com/" + file,
	"//sns.eu-central-1.amazonaws.com/" + file,
	"sns.eu-central-1.amazonaws.com/" + file,
	"/" + file,
	file,
	strings.TrimPrefix(file, "SimpleNotificationService-"),
	"ftp://sns.eu-central-1.amazonaws.com/" + file,
	"file:///etc/ssl/" + file,
	"data:application/x-pem-file;base64,LS0tLS1CRUdJTg==",
	"https:sns.eu-central-1.amazonaws.com/" + file,
	"https:/sns.eu-central-1.amazonaws.com/" + file,
	"https:///sns.eu-central-1.amazonaws.com/" + file,
	"https:\\\\sns.eu-central-1.amazonaws.com/" + file,
	// More than a host.
	"https://sns.eu-central-1.amazonaws.com:443/" + file,
	"https://sns.eu-central-1.amazonaws.com:8443/" + file,
	"https://sns.eu-central-1.amazonaws.com:/" + file,
	"https://user@sns.eu-central-1.amazonaws.com/" + file,
	"https://user:password@sns.eu-central-1.amazonaws.com/" + file,
	"https://@sns.eu-central-1.amazonaws.com/" + file,
	"https://sns.eu-central-1.amazonaws.com@evil.example/" + file,
	"https://sns.eu-central-1.amazonaws.com:x@evil.example/" + file,
	"https://sns.eu-central-1.amazonaws.com%40evil.example/" + file,
	"https://sns.eu-central-1.amazonaws.com\\@evil.example/" + file,
	"https://evil.example\\@sns.eu-central-1.amazonaws.com/" + file,
	"https://sns.eu-central-1.amazonaws.com#@evil.example/" + file,
	"https://sns.eu-central-1.amazonaws.com?@evil.example/" + file,
	// Almost the host.
	"https://sns.eu-central-1.amazonaws.com./" + file,
	"https://SNS.eu-central-1.amazonaws.com/" + file,
	"https://sns.EU-CENTRAL-1.amazonaws.com/" + file,
	"https://sns.eu-central-1.amazonaws.COM/" + file,
	"https://sns.eu-central-1.amazonaws.com.cn/" + file,
	"https://sns.eu-central-1.amazonaws.com.evil.example/" + file,
	"https://sns.eu-central-1.amazonaws.comevil.example/" + file,
	"https://evil-sns.eu-central-1.amazonaws.com/" + file,
	"https://evil.sns.eu-central-1.amazonaws.com/" + file,
	"https://sns-eu-central-1.amazonaws.com/" + file,
	"https://sns..eu-central-1.amazonaws.com/" + file,
	"https://.sns.eu-central-1.amazonaws.com/" + file,
	"https://sns.eu-central-1.amazonaws.org/" + file,
	"https://sns.eu-central-1.amazon.com/" + file,
	"https://sns.eu-central-1.api.aws/" + file,
	"https://sns.dualstack.eu-central-1.amazonaws.com/" + file,
	"https://sns-fips.eu-central-1.amazonaws.com/" + file,
	"https://sns.eu-central-1\u3002amazonaws\u3002com/" + file, // dots of another script
	"https://ｓｎｓ.eu-central-1.amazonaws.com/" + file,
	"https://sns.eu-central-1.amazonaws.com\u200b/" + file,
	"https://sns.eu-central-1.amazonaws.com /" + file,
	"https://sns.eu-central-1.amazonaws.com%00.evil.example/" + file,
	"https://sns%2eeu-central-1.amazonaws.com/" + file,
	"https://sns.xn--eu-central-1-.amazonaws.com/" + file,
	// Of Amazon, and somebody's bucket or not of the topic's region.
	"https://sns.s3-us-west-2.amazonaws.com/" + file,
	"https://sns.s3-accelerate.amazonaws.com/" + file,
	"https://sns.s3-external-1.amazonaws.com/" + file,
	"https://sns.s3.eu-central-1.amazonaws.com/" + file,
	"https://sns.s3.amazonaws.com/" + file,
	"https://s3.eu-central-1.amazonaws.com/sns.eu-central-1.amazonaws.com/" + file,
	"https://sns.amazonaws.com/" + file,
	"https://sqs.eu-central-1.amazonaws.com/" + file,
	"https://sns.us-east-1.amazonaws.com/" + file, // configured, but not the topic's
	"https://sns.eu-west-1.amazonaws.com/" + file, // not configured
	"https://sns.eu-central-2.amazonaws.com/" + file,
	"https://sns-signing.eu-central-1.amazonaws.com/" + file,
	"https://sns.cn-north-1.amazonaws.com.cn/" + file,
	// Elsewhere altogether.
	"https://evil.example/" + file,
	"https://127.0.0.1/" + file,
	"https://[::1]/" + file,
	"https://169.254.169.254/latest/meta-data/" + file,
	"https://localhost/" + file,
	"https:///" + file,
	// Another path.
	frankfurt,
	strings.TrimSuffix(frankfurt, "/"),
	frankfurt + "/" + file,
	frankfurt + "x/" + file,
	frankfurt + "x/../" + file,
	frankfurt + "./" + file,
	frankfurt + "%2f" + file,
	frankfurt + file + "/",
	frankfurt + file + "/..",
	frankfurt + file + "?x=y",
	frankfurt + file + "?",
	frankfurt + file + "#x",
	frankfurt + file + "#",
	frankfurt + file + ";x",
	frankfurt + file + "%00",
	frankfurt + file + "\x7f",
	frankfurt + file + "\n",
	frankfurt + file + " ",
	" " + frankfurt + file,
	"\t" + frankfurt + file,
	"\n" + frankfurt + file,
	frankfurt + file + "\r\nHost: evil.example",
	frankfurt + file + "," + frankfurt + file,
	frankfurt + strings.TrimSuffix(file, ".pem"),
	frankfurt + strings.Replace(file, ".pem", ".PEM", 1),
	frankfurt + strings.Replace(file, ".pem", ".crt", 1),
	frankfurt + strings.Replace(file, ".pem", ".pem.pem", 1),
	frankfurt + strings.Replace(file, "Simple", "simple", 1),
	frankfurt + strings.Replace(file, "abcdef", "ABCDEF", 1),
	frankfurt + strings.Replace(file, "abcdef", "abcdeg", 1),
	frankfurt + strings.Replace(file, "abcdef", "abcde", 1),
	frankfurt + strings.Replace(file, "abcdef", "abcdef0", 1),
	frankfurt + strings.Replace(file, "abcdef", "abcd/f", 1),
	frankfurt + strings.Replace(file, "abcdef", "abcd.f", 1),
	frankfurt + strings.Replace(file, "abcdef", "ab%63def", 1),
	frankfurt + "SimpleNotificationService-.pem",
	frankfurt + "?Action=ConfirmSubscription&Token=" + file,
	frankfurt + "https://sns.eu-central-1.amazonaws.com/" + file,
	// No URL at all.
	"x", ".", "%", "null", "undefined", "https://", "://", "{}", `"`, "\u00a0x",
}

func TestNothingIsFetchedButFromTheHostOfTheTopicsRegion(t *testing.T) {
	if len(badURLs) < 80 {
		t.Fatalf("only %d URLs", len(badURLs))
	}
	sns := newSNS(t)
	s := sns.settings(t)
	s.Push.Regions = append(s.Push.Regions, "us-east-1", "cn-north-1")
	webhook := openWith(t, s, sns.means())
	e := sns.sign(t, notification(`{"error":{"errorId":"a"}}`))
	there := strings.TrimPrefix(e.SigningCertURL, frankfurt)
	for _, url := range badURLs {
		for _, at := range []string{url, strings.ReplaceAll(url, file, there)} {
			e.SigningCertURL = at
			_, err := webhook.Authenticate(request(e))
			if err == nil {
				t.Errorf("%q: accepted", at)
				continue
			}
			check(t, err, "certificate")
			if strings.Contains(err.Error(), "evil") || strings.Contains(err.Error(), "0123456789") {
				t.Errorf("error holds something of the URL: %v", err)
			}
		}
	}
	if asked := sns.host.Asked(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
	// And it would work with the right one.
	if _, err := webhook.Authenticate(request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`)))); err != nil {
		t.Error(err)
	}
	if asked := sns.host.Asked(); len(asked) != 1 {
		t.Errorf("asked for %q", asked)
	}
}

// TestTopicDecidesWhichRegionsHostIsAsked: each topic's certificates come from
// its own region, with the name that Amazon has for it.
func TestTopicDecidesWhichRegionsHostIsAsked(t *testing.T) {
	for region, name := range map[string]string{
		"us-east-1": "sns.amazonaws.com", "us-east-2": "sns.amazonaws.com", "us-west-1": "sns.amazonaws.com", "us-west-2": "sns.amazonaws.com",
		"ca-central-1": "sns.amazonaws.com", "sa-east-1": "sns.amazonaws.com",
		"eu-central-1": "sns.amazonaws.com", "eu-west-1": "sns.amazonaws.com", "eu-west-2": "sns.amazonaws.com", "eu-west-3": "sns.amazonaws.com", "eu-north-1": "sns.amazonaws.com",
		"ap-northeast-1": "sns.amazonaws.com", "ap-northeast-2": "sns.amazonaws.com", "ap-northeast-3": "sns.amazonaws.com",
		"ap-south-1": "sns.amazonaws.com", "ap-southeast-1": "sns.amazonaws.com", "ap-southeast-2": "sns.amazonaws.com",
		"af-south-1":     "sns-signing.af-south-1.amazonaws.com",
		"ap-east-1":      "sns-signing.ap-east-1.amazonaws.com",
		"ap-east-2":      "sns-signing.ap-east-2.amazonaws.com",
		"ap-south-2":     "sns-signing.ap-south-2.amazonaws.com",
		"ap-southeast-3": "sns-signing.ap-southeast-3.amazonaws.com",
		"ap-southeast-4": "sns-signing.ap-southeast-4.amazonaws.com",
		"ap-southeast-5": "sns-signing.ap-southeast-5.amazonaws.com",
		"ap-southeast-6": "sns-signing.ap-southeast-6.amazonaws.com",
		"ap-southeast-7": "sns-signing.ap-southeast-7.amazonaws.com",
		"ca-west-1":      "sns-signing.ca-west-1.amazonaws.com",
		"eu-central-2":   "sns-signing.eu-central-2.amazonaws.com",
		"eu-south-1":     "sns-signing.eu-south-1.amazonaws.com",
		"eu-south-2":     "sns-signing.eu-south-2.amazonaws.com",
		"il-central-1":   "sns-signing.il-central-1.amazonaws.com",
		"me-central-1":   "sns-signing.me-central-1.amazonaws.com",
		"me-south-1":     "sns-signing.me-south-1.amazonaws.com",
		"mx-central-1":   "sns-signing.mx-central-1.amazonaws.com",
		"us-gov-east-1":  "sns-us-gov-west-1.amazonaws.com",
		"us-gov-west-1":  "sns-us-gov-west-1.amazonaws.com",
		"cn-north-1":     "sns-cn-north-1.amazonaws.com.cn",
		"cn-northwest-1": "sns-cn-northwest-1.amazonaws.com.cn",
	} {
		t.Run(region, func(t *testing.T) {
			sns := newSNS(t)
			s := sns.settings(t)
			partition := map[bool]string{true: "aws-cn", false: "aws"}[strings.HasPrefix(region, "cn-")]
			topic := "arn:" + partition + ":sns:" + region + ":111122223333:t"
			s.Push.Regions, s.Push.Topics = append(s.Push.Regions, region), append(s.Push.Topics, topic)
			webhook := openWith(t, s, sns.means())
			e := notification(`{"error":{"errorId":"a"}}`)
			e.TopicARN = topic

			good := sns.certify(t, corastonetest.Leaf{Region: region, Name: name})
			_, err := webhook.Authenticate(request(signWith(t, good, e)))
			check(t, err, "")
			for _, other := range []string{
				"sns." + region + ".amazonaws.com", "sns.eu-isoe-west-1.amazonaws.com", "sns-signing.eu-west-9.amazonaws.com",
				"*.amazonaws.com", "sns.amazonaws.com.evil.example", "SNS.amazonaws.com", "s3.amazonaws.com",
			} {
				bad := sns.certify(t, corastonetest.Leaf{Region: region, Name: other})
				_, err := webhook.Authenticate(request(signWith(t, bad, e)))
				check(t, err, "certificate")
			}
			// The other topic's region may not stand in for it.
			_, err = webhook.Authenticate(request(signWith(t, sns.signer, e)))
			if region != "eu-central-1" {
				check(t, err, "certificate")
			}
		})
	}
}

// TestBlankURLCantBeChecked: that is no forgery but how Corastone's sample
// looks.
func TestBlankURLCantBeChecked(t *testing.T) {
	sns := newSNS(t)
	webhook := sns.open(t)
	e := sns.sign(t, notification(`{"error":{"errorId":"a"}}`))
	good := string(e.Body())
	member := `"SigningCertURL" : "` + e.SigningCertURL + `"`
	for name, c := range map[string]struct{ with, want string }{
		"as it is":            {member, ""},
		"empty":               {`"SigningCertURL" : ""`, "uncheckable"},
		"spaces":              {`"SigningCertURL" : " \t\n"`, "uncheckable"},
		"null":                {`"SigningCertURL" : null`, "uncheckable"},
		"a number":            {`"SigningCertURL" : 1`, "uncheckable"},
		"a list":              {`"SigningCertURL" : ["` + e.SigningCertURL + `"]`, "uncheckable"},
		"absent":              {`"Other" : ""`, "uncheckable"},
		"Lambda's spelling":   {`"SigningCertUrl" : "` + e.SigningCertURL + `"`, ""},
		"both":                {member + `, "SigningCertUrl" : "https://evil.example/"`, ""},
		"both, first blank":   {`"SigningCertURL" : "", "SigningCertUrl" : "` + e.SigningCertURL + `"`, "uncheckable"},
		"both, first bad":     {`"SigningCertURL" : "x", "SigningCertUrl" : "` + e.SigningCertURL + `"`, "certificate"},
		"another spelling":    {`"signingCertURL" : "` + e.SigningCertURL + `"`, "uncheckable"},
		"twice":               {member + "," + member, "uncheckable"},
		"blank and not sound": {`"SigningCertURL" : "", "Signature" : 7, "X" : ""`, "uncheckable"},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(good, member, c.with, 1)
			if c.with != member && body == good {
				t.Fatal("body has no SigningCertURL")
			}
			_, err := webhook.Authenticate(handlers.Request{Body: []byte(body), Received: received})
			check(t, err, c.want)
		})
	}
	if asked := sns.host.Asked(); len(asked) != 1 {
		t.Errorf("asked for %q", asked)
	}
}

// TestForgeriesThatNeedNoCertificateFetchNone.
func TestForgeriesThatNeedNoCertificateFetchNone(t *testing.T) {
	sns := newSNS(t)
	webhook := sns.open(t)
	good := sns.sign(t, notification(`{"error":{"errorId":"a"}}`))
	for name, c := range map[string]struct {
		change func(*corastonetest.Envelope)
		want   string
	}{
		"topic":            {func(e *corastonetest.Envelope) { e.TopicARN += "x" }, "topic"},
		"no signature":     {func(e *corastonetest.Envelope) { e.Signature = "" }, "signature"},
		"no base64":        {func(e *corastonetest.Envelope) { e.Signature = "%" }, "signature"},
		"version":          {func(e *corastonetest.Envelope) { e.SignatureVersion = "3" }, "signature"},
		"no such type":     {func(e *corastonetest.Envelope) { e.Type = "Other" }, "uncheckable"},
		"no id":            {func(e *corastonetest.Envelope) { e.MessageID = "" }, "uncheckable"},
		"URL of elsewhere": {func(e *corastonetest.Envelope) { e.SigningCertURL = "https://evil.example/" + file }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			c.change(&e)
			_, err := webhook.Authenticate(handlers.Request{Body: e.Body(), Received: received})
			check(t, err, c.want)
		})
	}
	if asked := sns.host.Asked(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
}

func TestEveryChangeOfWhatIsSignedIsRefusedWithAFetchedCertificate(t *testing.T) {
	sns := newSNS(t)
	webhook := sns.open(t)
	e := sns.sign(t, notification(`{"transaction":{"processId":"c3a91f52-6f0b","status":"success","timestamp":"2026-02-03T04:05:06Z"}}`))
	values := []string{e.Type, e.MessageID, e.TopicARN, *e.Subject, e.Timestamp, e.Signature, strings.ReplaceAll(e.Message, `"`, `\"`)}
	set, least := others, 2000
	if os.Getenv("LONG_TESTS") != "" {
		set, least = manyOthers, 10_000
	}
	n := mutations(t, e.Body(), values, set, func(body []byte) {
		if a, err := webhook.Authenticate(handlers.Request{Body: body, Received: received}); err == nil {
			t.Errorf("accepted as %+v:\n%s", a, body)
		}
	})
	// The URL isn't signed; what it leads to must be right.
	n += mutations(t, e.Body(), []string{e.SigningCertURL}, others, func(body []byte) {
		_, err := webhook.Authenticate(handlers.Request{Body: body, Received: received})
		check(t, err, "certificate")
	})
	t.Logf("%d mutations", n)
	if n < least {
		t.Errorf("only %d mutations", n)
	}
	for _, url := range sns.host.Asked() {
		if !strings.HasPrefix(url, frankfurt) {
			t.Errorf("asked for %q", url)
		}
	}
}

func TestBundleCountsForExpiryAndWarnings(t *testing.T) {
	sns := newSNS(t)
	s := sns.settings(t)
	s.Push.CABundle = certificate("amazon.pem", slices.Concat(sns.Intermediate(), sns.Root()))
	s.Push.Certificates = []handlers.File{certificate("pinned.pem", signer(t).Certificate())}
	s.Push.Header = &corastone.Header{Name: "X"}
	source, err := corastone.Platform().Open("corastone", s, sns.means())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range source.Push.Certificates {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"amazon.pem", "amazon.pem#2"}) {
		t.Errorf("certificates %q", names)
	}
	for _, about := range []string{"push.certificates has no effect", "push.header has no effect"} {
		if !slices.ContainsFunc(source.Warnings, func(w string) bool { return strings.HasPrefix(w, about) }) {
			t.Errorf("no warning %q in %q", about, source.Warnings)
		}
	}
}
