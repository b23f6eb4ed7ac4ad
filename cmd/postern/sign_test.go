package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// tools runs a command line with the platforms of this version and some
// stdin.
func tools(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err writer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &err, nil)
	return string(out), string(err), code
}

// testKey makes a key with `postern sign` and a configuration that pins it,
// in a folder of its own that it changes to.
func testKey(t *testing.T, more string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if _, stderr, code := tools(t, "", "sign", "--new-key", "test.key"); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	write(t, "postern.yaml", `
sources:
  corastone:
    platform: corastone
    push: {allow: [127.0.0.1], topics: ["`+corastonetest.Topic+`"], signature: pinned, certificates: [test.crt]`+more+`}
`)
}

const signedEntry = `{"transaction":{"processId":"p-1","status":"success","type":"issuance","method":"createInvestment","timestamp":"2026-03-02T08:15:30.250Z"}}`

// signedBy returns an envelope of the test's key.
func signedBy(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := tools(t, signedEntry, append([]string{
		"sign", "--key", "test.key", "--topic", corastonetest.Topic, "--message-id", "m-1", "--timestamp", "2026-03-02T08:15:31.000Z",
	}, args...)...)
	if code != exitOK {
		t.Fatalf("sign: exit code %d: %s", code, stderr)
	}
	return stdout
}

func TestNewKeyIsPrivateAndReplacesNothing(t *testing.T) {
	testKey(t, "")
	info, err := os.Stat("test.key")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, want 0600", info.Mode())
	}
	before := readFile(t, "test.key")
	if _, stderr, code := tools(t, "", "sign", "--new-key", "test.key"); code != exitFailed || !strings.Contains(stderr, "next: ") {
		t.Errorf("a second time: exit code %d: %s", code, stderr)
	}
	if readFile(t, "test.key") != before {
		t.Error("it replaced the key")
	}
}

func TestVerifyTellsEachStep(t *testing.T) {
	const at = "2026-03-02T08:20:00Z"
	certificate := regexp.MustCompile(`sha256 [0-9a-f]{16}, good from \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d`)
	head := "ok    envelope     SIZE bytes, MessageId m-1\nok    type         Notification\n"
	topic := "ok    topic        " + corastonetest.Topic + "\n-     version      SignatureVersion 1, Timestamp 2026-03-02T08:15:31.000Z\n"
	good := "ok    certificate  test.crt, CERT: verifies it\nok    signature    a pinned certificate verifies it\n"
	event := "ok    event        postern.events.corastone.process.succeeded.p-1, id corastone:process:p-1:success\n"
	size := regexp.MustCompile(`\d+ bytes`)
	for name, c := range map[string]struct {
		more string
		edit func(string) string
		args []string
		at   string
		code int
		want string
	}{
		"good": {
			want: head + topic + good + "ok    age          sent 4m29s ago\n" + event + "      so           answered 200 and published\n",
		},
		"the string to sign": {
			args: []string{"--show-string"},
			want: head + topic +
				"-     to sign      Message\n-     to sign      " + signedEntry + "\n-     to sign      MessageId\n-     to sign      m-1\n" +
				"-     to sign      Timestamp\n-     to sign      2026-03-02T08:15:31.000Z\n-     to sign      TopicArn\n-     to sign      " + corastonetest.Topic +
				"\n-     to sign      Type\n-     to sign      Notification\n" + good + "ok    age          sent 4m29s ago\n" + event + "      so           answered 200 and published\n",
		},
		"a changed byte": {
			edit: func(s string) string { return strings.Replace(s, "p-1", "p-2", 1) }, code: exitFailed,
			want: head + topic + "-     certificate  test.crt, CERT: does not verify it\nfail  signature    no pinned certificate verifies it\n" +
				"      so           answered 403, and nothing is kept of it but in postern rejected\n",
		},
		"another topic": {
			edit: func(s string) string { return strings.Replace(s, "standin1", "standin2", 1) }, code: exitFailed,
			want: head + "-     topic        " + strings.Replace(corastonetest.Topic, "standin1", "standin2", 1) +
				"\nfail  topic        TopicArn is none of the configured topics\n" +
				"      so           answered 403, and nothing is kept of it but in postern rejected\n",
		},
		"no envelope": {
			edit: func(string) string { return signedEntry }, code: exitFailed,
			want: "fail  check        can't be checked: Type is none of an SNS envelope\n" +
				"      so           answered 503, so that the sender comes again\n",
		},
		"too old": {
			at: "2026-04-02T08:20:00Z", code: exitFailed,
			want: head + topic + good + "fail  age          sent 744h4m29s ago: too old, too far ahead, or no time at all\n" + event +
				"      so           answered 200 and kept in quarantine as stale\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			testKey(t, c.more)
			envelope := signedBy(t)
			if c.edit != nil {
				envelope = c.edit(envelope)
			}
			when := at
			if c.at != "" {
				when = c.at
			}
			stdout, stderr, code := tools(t, envelope, append([]string{"verify", "-c", "postern.yaml", "--source", "corastone", "--at", when}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, stderr)
			}
			got := size.ReplaceAllString(certificate.ReplaceAllString(stdout, "CERT"), "SIZE bytes")
			got = strings.ReplaceAll(got, " (past its date)", "")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is signed the second way, or confirms, is believed too; what can't be
// an event is said to go to quarantine.
func TestSignMakesEachKindOfEnvelope(t *testing.T) {
	testKey(t, "")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"version 2":    {[]string{"--signature-version", "2", "--subject", "news"}, exitOK, "process.succeeded.p-1"},
		"confirmation": {[]string{"--type", "SubscriptionConfirmation"}, exitOK, "postern.ops.corastone.push_confirmation_requested"},
		"unsubscribe":  {[]string{"--type", "UnsubscribeConfirmation"}, exitOK, "postern.ops.corastone.push_ended"},
	} {
		t.Run(name, func(t *testing.T) {
			envelope := signedBy(t, c.args...)
			stdout, _, code := tools(t, envelope, "verify", "-c", "postern.yaml", "--source", "corastone", "--at", "2026-03-02T08:15:31Z")
			if code != c.code || !strings.Contains(stdout, c.want) {
				t.Errorf("exit code %d\n%s", code, stdout)
			}
		})
	}
	write(t, "bad.txt", "no JSON")
	envelope, _, _ := tools(t, "", "sign", "--key", "test.key", "--topic", corastonetest.Topic, "bad.txt")
	write(t, "envelope.json", envelope)
	stdout, _, code := tools(t, "", "verify", "-c", "postern.yaml", "--source", "corastone", "envelope.json")
	if code != exitFailed || !strings.Contains(stdout, "kept in quarantine as bad_json") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestToolsSayWhatIsMissing(t *testing.T) {
	testKey(t, "")
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"no topic":        {[]string{"sign", "--key", "test.key"}, exitUsage},
		"no key":          {[]string{"sign", "--topic", corastonetest.Topic}, exitUsage},
		"a key of a kind": {[]string{"sign", "--topic", corastonetest.Topic, "--key", "test.crt"}, exitUsage},
		"no entry":        {[]string{"sign", "--topic", corastonetest.Topic, "--key", "test.key"}, exitUsage},
		"unknown type":    {[]string{"sign", "--topic", corastonetest.Topic, "--key", "test.key", "--type", "Note"}, exitUsage},
		"no source":       {[]string{"verify", "-c", "postern.yaml", "x"}, exitUsage},
		"unknown source":  {[]string{"verify", "-c", "postern.yaml", "--source", "x", "x"}, exitNotFound},
		"no config":       {[]string{"verify", "--source", "corastone", "x"}, exitUsage},
		"nobody listens":  {[]string{"trigger", "-c", "postern.yaml", "--source", "corastone", "--key", "test.key", "--url", "http://127.0.0.1:1/"}, exitUnavailable},
		"unknown kind":    {[]string{"trigger", "-c", "postern.yaml", "--source", "corastone", "--key", "test.key", "--kind", "x"}, exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			if _, stderr, code := tools(t, "", c.args...); code != c.code || !strings.Contains(stderr, "next: ") {
				t.Errorf("exit code %d, want %d: %s", code, c.code, stderr)
			}
		})
	}
}

func TestTriggerArrives(t *testing.T) {
	r := newReceiver(t, "")
	if _, stderr, code := tools(t, "", "sign", "--new-key", filepath.Join(r.dir, "test.key")); code != exitOK {
		t.Fatal(stderr)
	}
	r.write("sns.pem", readFile(t, filepath.Join(r.dir, "test.crt")))
	r.startBroker()
	events := subscribe(t, connect(t, r.broker))
	for _, kind := range []string{"process", "orchestration", "error", "job"} {
		stdout, stderr, code := postern(t, "trigger", "-c", r.file, "--source", "corastone", "--url", r.push,
			"--key", filepath.Join(r.dir, "test.key"), "--from", caller, "--kind", kind)
		if code != exitOK {
			t.Fatalf("%s: exit code %d\n%s%s", kind, code, stdout, stderr)
		}
		m := next(t, events)
		if want := "expect " + m.Subject() + ", id " + m.Headers().Get("ce-id") + "\n"; !strings.HasPrefix(stdout, "200 ") || !strings.Contains(stdout, want) {
			t.Errorf("%s: it says\n%sand the event is\n%s", kind, stdout, want)
		}
	}
	_, stderr, code := postern(t, "trigger", "-c", r.file, "--source", "corastone", "--url", r.push,
		"--key", filepath.Join(r.dir, "test.key"), "--from", "127.0.0.8")
	if code != exitFailed || !strings.Contains(stderr, "push.allow") {
		t.Errorf("from another address: exit code %d, want %d after %d\n%s", code, exitFailed, http.StatusForbidden, stderr)
	}
}
