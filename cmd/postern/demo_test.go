package main

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readFile returns what a file holds.
func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// postern runs a command to its end in a process of its own.
func postern(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asPostern+"=1")
	var out, err lines
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

func TestDemoShowsFlowsARefusalAQuarantineAndWhatIsPolled(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := postern(t, "demo", "--for", "14s")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	line := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (postern\.[a-z]+\.([a-z-]+)[a-z_.]+?)(\.[0-9A-Za-z_-]+)?$`)
	got := map[string][]string{}
	for _, m := range line.FindAllStringSubmatch(stdout, -1) {
		got[m[2]] = append(got[m[2]], strings.TrimPrefix(m[1], "postern."))
	}
	if n := strings.Count(stdout, "\n"); n != len(slices.Concat(slices.Collect(maps.Values(got))...)) {
		t.Errorf("stdout has other lines:\n%s", stdout)
	}
	for _, source := range []string{"concedus", "fund-one", "cas"} {
		slices.Sort(got[source]) // several pollers tell of them
	}
	want := map[string][]string{
		"concedus": {
			"events.concedus.subscription.absent", "events.concedus.subscription.absent",
			"events.concedus.subscription.agent_approved", "events.concedus.subscription.released",
			"events.concedus.subscription.submitted_to_issuer", "events.concedus.subscription.undetermined",
		},
		"fund-one": {
			"events.fund-one.investor.added", "events.fund-one.investor.qualified", "events.fund-one.investor.status_changed",
		},
		"cas": {
			"events.cas.access.created", "events.cas.access.created", "events.cas.access.granted", "events.cas.access.revoked",
			"events.cas.offering.allocations_released", "events.cas.offering.allocations_unreleased",
			"events.cas.offering.book_closed", "events.cas.offering.book_opened",
		},
	}
	// Follow-ups come in between, so that only some of it has an order.
	var story []string
	for _, subject := range got["corastone"] {
		entity, event, _ := strings.Cut(strings.TrimPrefix(subject, "events.corastone."), ".")
		if entity == "subscription" && !slices.Contains(story, event) {
			story = append(story, event)
		}
	}
	if diff := cmp.Diff([]string{"created", "accepted", "wired", "settled", "issued"}, story[:min(len(story), 5)]); diff != "" {
		t.Errorf("the first investment (-want +got):\n%s\n%s", diff, stdout)
	}
	for _, subject := range []string{
		"ops.corastone.push_confirmation_requested", "ops.corastone.push_confirmed", "ops.corastone.push_rejected",
		"quarantine.corastone.bad_json", "events.corastone.offering.opened", "events.corastone.offering.assignment_accepted",
		"events.corastone.process.succeeded", "events.corastone.orchestration.succeeded", "events.corastone.process.details_added",
		"events.corastone.subscription.remediation_requested",
	} {
		if !slices.Contains(got["corastone"], subject) {
			t.Errorf("%s is not published:\n%s", subject, stdout)
		}
	}
	delete(got, "corastone")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is published (-want +got):\n%s\n%s", diff, stdout)
	}
	if !strings.Contains(stderr, "answered 403") || !strings.Contains(stderr, "~~> the candidate is qualified") {
		t.Errorf("what happens is not shown:\n%s", stderr)
	}
}

func TestTailShowsEvents(t *testing.T) {
	r := newReceiver(t, "")
	r.startBroker()
	subscribe(t, connect(t, r.broker))
	node := nodeOf(t, 6)
	for _, id := range []string{"one", "two", "three"} {
		r.pushed(signed(t, node.Notification(investment(id))))
	}
	r.relayed("published", 3)

	tail := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := postern(t, append([]string{"tail", "--ops", r.ops}, args...)...)
		if code != 0 {
			t.Fatalf("tail %v: exit code %d\n%s", args, code, stderr)
		}
		return stdout
	}
	const event = "2026-03-02T08:15:30.250Z postern.events.corastone.process.succeeded."
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"last":         {[]string{"--last", "2", "--follow=false"}, event + "two\n" + event + "three\n"},
		"count":        {[]string{"--since", "1h", "--count", "1"}, event + "one\n"},
		"key":          {[]string{"--since", "1h", "--key", "two", "--follow=false"}, event + "two\n"},
		"type":         {[]string{"--since", "1h", "--type", "process.*", "--count", "3"}, event + "one\n" + event + "two\n" + event + "three\n"},
		"other type":   {[]string{"--since", "1h", "--type", "error.*", "--follow=false"}, ""},
		"other source": {[]string{"--since", "1h", "--source", "fund-one", "--follow=false"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tail(c.args...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := tail("--last", "1", "--follow=false", "-o", "jsonl"); !strings.HasPrefix(got, `{"specversion":"1.0","id":"corastone:process:three:success"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("-o jsonl gave %s", got)
	}
	if _, stderr, code := postern(t, "tail", "--ops", "http://127.0.0.1:1"); code != exitUnavailable || !strings.Contains(stderr, "next: ") {
		t.Errorf("without a postern: exit code %d\n%s", code, stderr)
	}
	if _, _, code := postern(t, "tail", "--ops", r.ops, "-o", "xml"); code != exitUsage {
		t.Errorf("an unknown form: exit code %d, want %d", code, exitUsage)
	}
}
