package handlerstest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// addBourse adds a platform as README says, in an overlay over the sources:
// the folder testdata/bourse, and a line in the list of platforms. It returns
// the overlay's file and where the sources are.
func addBourse(t *testing.T) (overlay, root string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for _, name := range []string{"bourse.go", "bourse_test.go"} {
		replace[filepath.Join(root, "handlers", "bourse", name)] = filepath.Join(root, "handlers", "handlerstest", "testdata", "bourse", name)
	}
	list := filepath.Join(root, "cmd", "postern", "platforms.go")
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	const after, imported = "\t\taccesscontrols.Platform(),\n", "\t\"github.com/seed75441868/postern/handlers/accesscontrols\"\n"
	more := strings.Replace(string(text), after, after+"\t\tbourse.Platform(),\n", 1)
	more = strings.Replace(more, imported, imported+strings.Replace(imported, "accesscontrols", "bourse", 1), 1)
	if strings.Count(more, "bourse") != 2 {
		t.Fatalf("the list of platforms is another one now:\n%s", text)
	}
	replace[list] = filepath.Join(t.TempDir(), "platforms.go")
	write(t, replace[list], more)
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(t.TempDir(), "overlay.json")
	write(t, overlay, string(b))
	return overlay, root
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command and returns what it printed, and its exit code.
func run(t *testing.T, dir, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestAFifthPlatformIsAFolderAndALine: with no more than README asks for, a
// platform keeps all promises and is polled, configured, measured, published
// and put into quarantine by its name.
func TestAFifthPlatformIsAFolderAndALine(t *testing.T) {
	if os.Getenv("LONG_TESTS") == "" {
		t.Skip("builds postern; LONG_TESTS=1 runs it")
	}
	overlay, root := addBourse(t)
	dir := t.TempDir()
	tests, postern := filepath.Join(dir, "bourse.test"), filepath.Join(dir, "postern")
	if out, code := run(t, root, "go", "test", "-overlay", overlay, "-vet", "off", "-c", "-o", tests, "./handlers/bourse"); code != 0 {
		t.Fatalf("its tests do not build:\n%s", out)
	}
	if out, code := run(t, dir, tests); code != 0 {
		t.Fatalf("its tests fail:\n%s", out)
	}
	if out, code := run(t, root, "go", "build", "-overlay", overlay, "-o", postern, "./cmd/postern"); code != 0 {
		t.Fatalf("it does not build:\n%s", out)
	}

	var mu sync.Mutex
	list := `[{"id":"OF-1","status":"open"},{"id":"OF 2","status":"closed"}]`
	bourse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer bourse-token-51" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"offerings":`+list+`}`)
	}))
	t.Cleanup(bourse.Close)
	config := filepath.Join(dir, "postern.yaml")
	settings := `
data_dir: data
ingress: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
nats: {embedded: {max_store: 1GiB}}
journal: {max_bytes: 64MiB, reserve: 1MiB}
log: {format: json}
sources:
  north-bourse:
    platform: bourse
    url: ` + bourse.URL + `
    token: {file: token}
    poll: {interval: 200ms}
`
	write(t, filepath.Join(dir, "token"), "bourse-token-51\n")
	write(t, config, strings.Replace(settings, "interval:", "intervall:", 1))
	if out, code := run(t, dir, postern, "config", "check", "-c", config); code != 3 || !strings.Contains(out, "intervall") || !strings.Contains(out, `mean "interval"`) {
		t.Errorf("a mistyped setting: exit code %d\n%s", code, out)
	}
	write(t, config, settings)
	if out, code := run(t, dir, postern, "config", "check", "-c", config); code != 0 {
		t.Fatalf("the configuration is refused with %d:\n%s", code, out)
	}

	ops := serve(t, dir, postern, config)
	ask := func(args ...string) string {
		t.Helper()
		out, _ := run(t, dir, postern, append(args, "--ops", ops, "--token-file", filepath.Join(dir, "data", "ops.token"))...)
		return out
	}
	until(t, func() string { return ask("events", "list", "--since", "1h", "-o", "json") },
		"postern.offering.opened.v1", "postern.offering.closed.v1", "north-bourse:offering:of-1:", "north-bourse:offering:=")
	mu.Lock()
	list = strings.Replace(list, "open", "resting", 1)
	list = strings.Replace(list, "closed", "", 1)
	mu.Unlock()
	until(t, func() string { return ask("events", "list", "--since", "1h", "-o", "json") }, "postern.offering.status_changed.v1")
	until(t, func() string { return ask("quarantine", "list", "-o", "json") }, "north-bourse", "invalid_event")
	until(t, func() string { return ask("pollers", "list") }, "north-bourse/offerings")
	until(t, func() string { return metrics(t, ops, "north-bourse") },
		`postern_poll_runs_total{poller="offerings",result="success",source="north-bourse"}`,
		`endpoint="offerings",source="north-bourse"}`,
		`postern_events_published_total{source="north-bourse",stream="POSTERN_EVENTS",type="postern.offering.opened.v1"} 1`,
		`postern_quarantined_total{reason="invalid_event",source="north-bourse"} 1`,
		`postern_schema_drift_total{source="north-bourse"} 1`)
}

// serve starts a receiver, and returns where its ops listener is.
func serve(t *testing.T, dir, postern, config string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, postern, "serve", "-c", config)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	log := &journal{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 0 || t.Failed() {
			t.Errorf("it ended with %d:\n%s", cmd.ProcessState.ExitCode(), log)
		}
	})
	var ops string
	until(t, func() string {
		for line := range strings.Lines(log.String()) {
			var l struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &l, json.MatchCaseInsensitiveNames(true)) == nil && l.Msg == "ops listens" {
				ops = "http://" + l.Address
			}
		}
		return ops
	}, "http")
	return ops
}

// journal keeps what a process writes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// until waits until what is said has all texts in it.
func until(t *testing.T, say func() string, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		said, missing := say(), ""
		for _, text := range texts {
			if !strings.Contains(said, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%q is not said:\n%.8000s", missing, said)
		case <-tick.C:
		}
	}
}

// metrics returns the metrics of a source.
func metrics(t *testing.T, ops, source string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var of strings.Builder
	for line := range strings.Lines(string(body)) {
		if strings.Contains(line, `source="`+source+`"`) {
			of.WriteString(line)
		}
	}
	return of.String()
}
