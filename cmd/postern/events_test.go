package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

func TestEventsAreFound(t *testing.T) {
	r := operated(t)
	node := nodeOf(t, 21)
	failed := investment("one")
	failed.Status = "failed"
	for _, p := range []corastonetest.Process{investment("one"), investment("two"), failed} {
		if status, _ := r.pushed(signed(t, node.Notification(p))); status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
	}
	r.relayed("published", 3)

	idsIn := func(out string) []string {
		var ids []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 0 && f[0] != "SEQ" {
				ids = append(ids, f[len(f)-1])
			}
		}
		return ids
	}
	const one, two, late = "corastone:process:one:success", "corastone:process:two:success", "corastone:process:one:failed"
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"events list", []string{one, two, late}},
		{"events list --last 1", []string{late}},
		{"events list --last 0", []string{one, two, late}},
		{"events list --type process.failed --since 1h", []string{late}},
		{"events list --key two", []string{two}},
		{"entity process/one", []string{one, late}},
		{"entity process/one --source corastone", []string{one, late}},
	} {
		got := r.as("", strings.Fields(tc.args)...).want(t, tc.args, exitOK)
		if diff := cmp.Diff(tc.want, idsIn(got.stdout)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.args, diff)
		}
	}
	asJSON := r.as("", "entity", "process/two", "-o", "json").want(t, "entity -o json", exitOK)
	if list := decoded[[]ops.TailEvent](t, asJSON.stdout); len(list) != 1 || list[0].Sequence != 2 || !strings.Contains(string(list[0].Event), two) {
		t.Errorf("%s", asJSON.stdout)
	}
	for what, code := range map[string]int{
		"entity process/three": exitNotFound, "entity nonsense/one": exitNotFound, "entity process/one --source other": exitNotFound,
		"entity process": exitUsage, "entity pro*/one": exitUsage, "entity process/": exitUsage,
		"events list --type process.nonsense": exitNotFound, "events list --since yesterday": exitUsage, "events list -o xml": exitUsage,
		"events show corastone:process:three:success": exitNotFound, "events show no/id": exitUsage,
		"events raw " + one: exitNotAllowed, "events show " + one + " --restricted": exitNotAllowed,
	} {
		r.as("", strings.Fields(what)...).want(t, what, code)
	}

	shown := r.as("", "events", "show", one).want(t, "events show", exitOK)
	if !strings.Contains(shown.stdout, `"id": "`+one+`"`) {
		t.Errorf("shown is %s", shown.stdout)
	}
	r.as("ursula.token", "events", "show", one, "--restricted").want(t, "a twin that isn't there", exitNotFound)
	r.as("otto.token", "events", "raw", one).want(t, "raw by otto", exitNotAllowed)
	raw := r.as("ursula.token", "events", "raw", late).want(t, "events raw", exitOK)
	if !strings.Contains(raw.stdout, `\"status\":\"failed\"`) || !strings.Contains(raw.stdout, "SignatureVersion") {
		t.Errorf("raw is %s", raw.stdout)
	}
	if diff := cmp.Diff([]string{"unsealed ursula POSTERN_RAW/3"}, r.actions()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	// What the index knows outlives a restart.
	r.terminate()
	r.startBroker()
	eventually(t, "the event is found again", func() bool { return r.as("", "events", "show", two).code == exitOK })
}
