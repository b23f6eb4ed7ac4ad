package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// examined runs doctor and returns its findings.
func (r *receiver) examined(args ...string) (findings []finding, code int) {
	r.t.Helper()
	stdout, stderr, code := r.finish(append([]string{"doctor", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		r.t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	return findings, code
}

// says checks that there is a finding, and that whoever has to do something is
// told what.
func says(t *testing.T, findings []finding, status, name, text string) {
	t.Helper()
	for _, f := range findings {
		if f.Status == status && f.Name == name && strings.Contains(f.Text, text) {
			if status == "fail" && f.Todo == "" {
				t.Errorf("%s: it doesn't say what to do about %q", name, f.Text)
			}
			return
		}
	}
	t.Errorf("no %s of %s says %q among %+v", status, name, text, findings)
}

func TestDoctorFindsNothingWrongWithAFreshReceiver(t *testing.T) {
	r := newReceiver(t, "")
	findings, code := r.examined()
	if code != exitOK {
		t.Errorf("exit code %d: %+v", code, findings)
	}
	says(t, findings, "ok", "configuration", "can be used")
	says(t, findings, "warn", "receiver", "does not run")
	says(t, findings, "ok", "ingress.listen", "the system chooses")
	says(t, findings, "ok", "sources.corastone.push", "is good until")
	says(t, findings, "ok", "sources.corastone.push.allow", caller)
	says(t, findings, "ok", "keys", "none yet")
	says(t, findings, "warn", "keys", "beside what it seals")
	says(t, findings, "ok", "data_dir", "is made at the first start")
	says(t, findings, "ok", "disk", "are free")
	if _, err := os.Stat(filepath.Join(r.dir, "data")); err == nil {
		t.Error("it made data_dir")
	}
}

func TestDoctorAsksTheReceiverThatRuns(t *testing.T) {
	r := newReceiver(t, "")
	r.startBroker()
	findings, _ := r.examined("--ops", r.ops)
	says(t, findings, "ok", "receiver", "accepts pushes")
	says(t, findings, "warn", "sources.corastone", "no push arrived")
	r.pushed(signed(t, nodeOf(t, 31).Notification(investment("seen"))))
	r.relayed("published", 1)
	findings, code := r.examined("--ops", r.ops)
	if code != exitOK {
		t.Errorf("exit code %d: %+v", code, findings)
	}
	says(t, findings, "ok", "sources.corastone", "the last push arrived")
	says(t, findings, "ok", "keys", "2 keys")
	says(t, findings, "ok", "data_dir", "others can't use")
	says(t, findings, "ok", "nats", "embedded")

	text, stderr, _ := r.finish("doctor", "--ops", r.ops)
	if !strings.Contains(text, "ok    receiver: runs and accepts pushes\n") || !strings.Contains(text, "\n      do: ") || !strings.Contains(stderr, "0 failures, ") {
		t.Errorf("as text it says\n%s%s", text, stderr)
	}
}

func TestDoctorFailsOnWhatWouldKeepItFromWorking(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newReceiver(t, `
ingress: {listen: "`+taken.Addr().String()+`"}
journal: {reserve: 1000TiB}
sources: {corastone: {push: {allow: [203.0.113.10, 192.0.0.0/8]}}}
`)
	r.write("data", "")
	findings, code := r.examined()
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	says(t, findings, "fail", "ingress.listen", "can't be had")
	says(t, findings, "fail", "disk", "below journal.reserve")
	says(t, findings, "warn", "disk", "may take")
	says(t, findings, "fail", "data_dir", "is no folder")
	says(t, findings, "fail", "sources.corastone.push.allow", "nobody can call")
	says(t, findings, "warn", "sources.corastone.push.allow", "192.0.0.0/8 is very wide")
}

func TestDoctorFindsMissingKeysAndOpenFiles(t *testing.T) {
	r := newReceiver(t, "")
	r.startBroker()
	r.terminate()
	key := filepath.Join(r.dir, "data", "seal.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	findings, code := r.examined()
	if code != exitOK {
		t.Errorf("exit code %d: %+v", code, findings)
	}
	says(t, findings, "warn", "data_dir", "seal.key (mode 0644)")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	findings, code = r.examined()
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	says(t, findings, "fail", "keys", "is missing, and nothing starts without it")
}

func TestDoctorLooksAtTLSCertificates(t *testing.T) {
	r := newReceiver(t, `ingress: {tls: {cert: tls.crt, key: tls.key}}`)
	cert, key := certificate(t) // self-signed, good for an hour
	r.write("tls.crt", cert)
	r.write("tls.key", key)
	findings, _ := r.examined()
	says(t, findings, "warn", "ingress.tls", "ends on")
	says(t, findings, "warn", "ingress.tls", "no root that this machine trusts")
}

func TestDoctorConnectsToAnExternalNATS(t *testing.T) {
	r := newReceiver(t, `
nats: {url: "nats://127.0.0.1:1", embedded: {listen: ""}}
seal: {keys: [{file: own.key}]}
pseudonyms: {key: {file: pseudonym.key}}
`)
	r.write("own.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
	r.write("pseudonym.key", "ICECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
	findings, code := r.examined()
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	says(t, findings, "fail", "nats", "nobody is there")
}
