package main

import (
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// newAsking returns a receiver that asks a ledger, on which a fund was made
// before the receiver was switched on.
func newAsking(t testing.TB) (r *receiver, ledger *corastonetest.Ledger, fund string, start func()) {
	t.Helper()
	// What was before the receiver was switched on was long before: a platform
	// says its time in whole seconds.
	var began atomic.Bool
	ledger = corastonetest.NewLedger(corastonetest.Options{Seed: 5, Now: func() time.Time {
		if !began.Load() {
			return time.Now().Add(-10 * time.Minute)
		}
		return time.Now()
	}})
	fund, err := ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ledger)
	t.Cleanup(server.Close)
	r = newReceiver(t, `
sources:
  corastone:
    api: {url: "`+server.URL+`", org_id: `+corastonetest.OurOrg+`, client_id: `+corastonetest.ClientID+`, client_secret: {file: client.secret}}
    poll: {interval: 400ms, overlap: 1m}
`)
	r.write("client.secret", corastonetest.ClientSecret+"\n")
	t.Cleanup(r.kill) // before the ledger, which waits for what is asked
	return r, ledger, fund, func() {
		began.Store(true)
		r.startBroker()
	}
}

// events returns the subjects of what is on POSTERN_EVENTS, in order.
func (r *receiver) events() []string {
	r.t.Helper()
	out, err := r.command("tail", "--since", "1d", "--follow=false", "-o", "line", "--ops", r.ops).Output()
	if err != nil {
		return nil
	}
	var subjects []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			subjects = append(subjects, fields[1])
		}
	}
	return subjects
}

func TestWhatNobodyPushedIsToldWithItsMeaning(t *testing.T) {
	r, ledger, fund, start := newAsking(t)
	start()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := r.command("pollers", "list", "-o", "json", "--ops", r.ops).CombinedOutput()
			t.Logf("%s\n%s", out, r.stderr.String())
		}
	})
	eventually(t, "the seed is read", func() bool {
		return slices.Contains(r.events(), "postern.events.corastone.offering.opened."+fund)
	})
	// Nobody pushes it: the Sequencer has it, and a follow-up says what it means.
	made, err := ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Accept([]string{made.AssetID}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"postern.events.corastone.process.succeeded." + made.ProcessIDs[0],
		"postern.events.corastone.subscription.created." + made.AssetID,
		"postern.events.corastone.subscription.accepted." + made.AssetID,
	}
	eventually(t, "what was missed is told with its meaning", func() bool {
		got := r.events()
		return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(got, s) })
	})
	for _, subject := range r.events() {
		if strings.Contains(subject, ".status_changed.") {
			t.Errorf("%s is told, although a step explains it", subject)
		}
	}
	seen := map[string]bool{}
	for _, subject := range r.events() {
		if seen[subject] {
			t.Errorf("%s is told twice", subject)
		}
		seen[subject] = true
	}
}

func TestReconcileTellsWhatIsMissing(t *testing.T) {
	r, ledger, fund, start := newAsking(t)
	if _, err := ledger.Subscribe(fund, corastonetest.Subscription{}); err != nil {
		t.Fatal(err)
	}
	start()
	processes := func() (n int) {
		for _, subject := range r.events() {
			if strings.Contains(subject, ".process.succeeded.") {
				n++
			}
		}
		return n
	}
	eventually(t, "the offering is seen", func() bool { return len(r.events()) > 0 })
	if n := processes(); n != 0 {
		t.Fatalf("%d processes from before it was switched on are told", n)
	}
	ask := func(more ...string) (string, error) {
		out, err := r.command(append([]string{"reconcile", "--source", "corastone", "--since", "1h", "--until", "0s", "--ops", r.ops}, more...)...).Output()
		return string(out), err
	}
	out, err := ask("--dry-run")
	if err != nil || !strings.Contains(out, "process.succeeded") || !strings.Contains(out, "missing") {
		t.Fatalf("a dry run says %q, %v", out, err)
	}
	if n := processes(); n != 0 {
		t.Errorf("a dry run told %d processes", n)
	}
	if out, err := ask(); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	want := len(ledger.Processes())
	eventually(t, "what is missing is told", func() bool { return processes() == want })
	out, err = ask()
	if err != nil || strings.Contains(out, "missing  ") {
		t.Errorf("the second time it says %q, %v", out, err)
	}
	if n := processes(); n != want {
		t.Errorf("after the second time %d processes are told, want %d", n, want)
	}
	for since, source := range map[string]string{"90d": "corastone", "1h": "nobody"} {
		cmd := r.command("reconcile", "--source", source, "--since", since, "--ops", r.ops)
		want := map[string]int{"corastone": exitFailed, "nobody": exitNotFound}[source]
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != want {
			t.Errorf("since %s of %s: %v", since, source, err)
		}
	}
}
