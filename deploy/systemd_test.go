package deploy_test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// systemd understands the unit and finds little in it that is open.
func TestUnitIsClosed(t *testing.T) {
	t.Parallel()
	analyze := tool(t, "systemd-analyze", "systemd")
	unit := write(t, t.TempDir(), "postern.service", sample(t, "systemd/postern.service",
		"/usr/local/bin/postern", must(t, buildPostern)))
	if out, err := run(t, analyze, "verify", "--man=no", unit); err != nil || strings.Contains(out, "postern") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 1.3 of 10 are the network, which it is for, and the rest of /proc and of
	// the host's files, which it may see and not write.
	if out, err := run(t, analyze, "security", "--offline=yes", "--no-pager", "--threshold=20", unit); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The unit and its configuration agree, and Postern takes that.
func TestUnitLoadsWhatItsConfigurationReads(t *testing.T) {
	t.Parallel()
	const credentials = "/run/credentials/postern.service/"
	unit := sample(t, "systemd/postern.service")
	secrets := secretsOf(t)
	read := regexp.MustCompile(credentials+`([\w.-]+)`).FindAllStringSubmatch(sample(t, "systemd/postern.yaml"), -1)
	if n := strings.Count(unit, "\nLoadCredential="); n != len(read) {
		t.Errorf("the unit loads %d credentials, and the configuration reads %d", n, len(read))
	}
	for _, m := range read {
		if !strings.Contains(unit, "\nLoadCredential="+m[1]+":") {
			t.Errorf("the unit does not load %s", m[1])
		}
	}
	if !strings.Contains(unit, "\nStateDirectory=postern\n") || !strings.Contains(sample(t, "systemd/postern.yaml"), "data_dir: /var/lib/postern\n") {
		t.Error("data_dir is not the folder that the unit makes")
	}
	dir := t.TempDir()
	text := sample(t, "systemd/postern.yaml",
		credentials+"cert.pem", secrets+"/ops.pem",
		credentials+"key.pem", secrets+"/ops.key",
		credentials, secrets+"/",
		"/etc/postern/sns.pem", "sns.pem",
		"arn:aws:sns:us-east-1:123456789012:REPLACE-ME", corastonetest.Topic,
	)
	write(t, dir, "sns.pem", signerCertificate(t))
	if out, err := run(t, must(t, buildPostern), "config", "check", "-c", write(t, dir, "postern.yaml", text)); err != nil {
		t.Errorf("postern config check: %v\n%s", err, out)
	}
}

var seconds = regexp.MustCompile(`(?:TimeoutStopSec=|stop_grace_period: )(\d+)s`)

// Whoever stops it gives it the time that its orderly end may take: 17 s are
// the program's own, and the stores close behind them.
func TestStoppingTakesAsLongAsItMay(t *testing.T) {
	for _, file := range []string{"systemd/postern.service", "compose/compose.yaml"} {
		m := seconds.FindStringSubmatch(sample(t, file))
		if m == nil {
			t.Fatalf("%s gives it no time to end", file)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n < 30 {
			t.Errorf("%s gives it %s s to end", file, m[1])
		}
	}
}

// The image is built with the Go that go.mod asks for, statically, for a user
// who is nobody.
func TestImageIsSmallAndNobodys(t *testing.T) {
	dockerfile := sample(t, filepath.Join("container", "Dockerfile"))
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(sample(t, "../go.mod"))
	for _, want := range []string{
		"golang:" + version[1] + "-", "CGO_ENABLED=0", `-trimpath -ldflags "-s -w"`,
		"\nFROM gcr.io/distroless/static-debian12:nonroot\n", "\nUSER 65532:65532\n", "\nVOLUME /var/lib/postern\n",
	} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile does not say %q", want)
		}
	}
	// What it leaves out of the build would make the binary say that its source
	// was changed.
	if ignored := sample(t, "../.dockerignore"); strings.Contains(ignored, ".git\n") || strings.Contains(ignored, "*.md") {
		t.Error(".dockerignore leaves out what git knows")
	}
}
