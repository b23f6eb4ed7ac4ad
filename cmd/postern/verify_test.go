package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// judged runs verify and returns its lines without what differs each time.
func judged(t *testing.T, r *receiver, body string) (text string, code int) {
	t.Helper()
	file := filepath.Join(r.dir, "body.json")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := r.finish("verify", "--source", "corastone", file)
	if stderr != "" {
		t.Errorf("it says %s", stderr)
	}
	for pattern, with := range map[string]string{
		`\d+ bytes`: "SIZE bytes", `sha256 [0-9a-f]{16}`: "SHA", `SimpleNotificationService-[0-9a-f]+`: "NAME",
		`sent \S+ ago`: "sent AGE ago",
	} {
		stdout = regexp.MustCompile(pattern).ReplaceAllString(stdout, with)
	}
	return stdout, code
}

// The certificate that the envelope names is fetched as the receiver would
// fetch it, and shown.
func TestVerifyShowsTheCertificateThatIsNamed(t *testing.T) {
	authority, err := corastonetest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	host := &corastonetest.CertificateHost{}
	signer, err := host.Certify(authority, testSigner(t), corastonetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, snsHost)
	w.serve = host
	r := newReceiver(t, `
outbound: {proxy: "`+w.proxy+`", ca_file: out.pem}
sources:
  corastone:
    push: {signature: required, regions: [eu-central-1], ca_bundle: amazon.pem, certificates: []}
`)
	r.write("out.pem", w.ca)
	r.write("amazon.pem", string(authority.Root())+string(authority.Intermediate()))
	e := nodeOf(t, 51).Notification(investment("p-1"))
	e.MessageID, e.Timestamp = "m-1", time.Now().UTC().Format(corastonetest.TimeLayout)
	e, err = signer.Sign(e)
	if err != nil {
		t.Fatal(err)
	}
	head := "ok    envelope     SIZE bytes, MessageId m-1\nok    type         Notification\nok    topic        " + corastonetest.Topic +
		"\n-     version      SignatureVersion 1, Timestamp " + e.Timestamp + "\n-     certificate  https://" + snsHost + "/NAME.pem\n"
	fetched := "-     certificate  fetched, SHA, good from 2025-01-01 to 2035-01-01, issued to sns.amazonaws.com by Stand-in M01\n"
	got, code := judged(t, r, string(e.Body()))
	want := head + fetched + "ok    signature    the certificate that it names verifies it, and a trusted root stands behind that\n" +
		"ok    age          sent AGE ago\nok    event        postern.events.corastone.process.succeeded.p-1, id corastone:process:p-1:success\n" +
		"      so           answered 200 and published\n"
	if diff := cmp.Diff(want, got); code != exitOK || diff != "" {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}

	got, code = judged(t, r, strings.Replace(string(e.Body()), "p-1", "p-2", 1))
	want = head + fetched + "fail  signature    the certificate of SigningCertURL does not verify it\n" +
		"      so           answered 403, and nothing is kept of it but in postern rejected\n"
	if diff := cmp.Diff(want, got); code != exitFailed || diff != "" {
		t.Errorf("forged: exit code %d (-want +got):\n%s", code, diff)
	}

	w.mu.Lock()
	w.fault = 502
	w.mu.Unlock()
	got, code = judged(t, r, string(e.Body()))
	if code != exitFailed || !strings.Contains(got, "fail  check        can't be checked: the certificate could not be fetched") ||
		!strings.HasSuffix(got, "answered 503, so that the sender comes again\n") {
		t.Errorf("without the host: exit code %d\n%s", code, got)
	}
}

func TestVerifyTakesTheSharedSecretAsShown(t *testing.T) {
	r := newReceiver(t, `
sources: {corastone: {push: {signature: header, certificates: [], header: {name: X-Relay, secrets: [{file: relay.secret}]}}}}
`)
	const secret = "the-secret-of-the-relay"
	r.write("relay.secret", secret+"\n")
	got, code := judged(t, r, signedEntry)
	want := "-     header       X-Relay is taken as shown with the right secret\n" +
		"ok    envelope     none: taken for a bare entry, which signature: header allows\n" +
		"ok    age          it does not say when it was sent\n" +
		"ok    event        postern.events.corastone.process.succeeded.p-1, id corastone:process:p-1:success\n" +
		"      so           answered 200 and published\n"
	if diff := cmp.Diff(want, got); code != exitOK || diff != "" {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
	if strings.Contains(got, secret) {
		t.Error("it shows the secret")
	}
}
