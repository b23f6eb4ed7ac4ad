package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

func (r *receiver) quarantine(args ...string) []ops.Record {
	r.t.Helper()
	out := r.as("", append([]string{"quarantine", "list", "-o", "json"}, args...)...).want(r.t, "quarantine list", exitOK)
	return decoded[ops.Records](r.t, out.stdout).Records
}

func reasonsOf(records []ops.Record) []string {
	list := []string{}
	for _, r := range records {
		list = append(list, r.Reason)
	}
	return list
}

// stale is a push that is too old to be believed.
func stale(t *testing.T, node *corastonetest.Node, process string) corastonetest.Push {
	e := node.Notification(investment(process))
	e.Timestamp = "2020-01-02T03:04:05.000Z"
	return signed(t, e)
}

func TestOperatorsHandleQuarantine(t *testing.T) {
	r := operated(t)
	events := subscribe(t, connect(t, r.broker))
	node := nodeOf(t, 11)
	_, old := r.pushed(stale(t, node, "old"))
	_, bad := r.pushed(signed(t, node.Notification(investment(""))))
	_, older := r.pushed(stale(t, node, "older"))
	r.relayed("quarantined", 3)

	t.Run("who has no token sees what there is, and changes nothing", func(t *testing.T) {
		table := r.as("", "quarantine", "list").want(t, "list", exitOK)
		for _, part := range []string{"SEQ", "stale", "invalid_event", old, bad, "push"} {
			if !strings.Contains(table.stdout, part) {
				t.Errorf("the table lacks %q:\n%s", part, table.stdout)
			}
		}
		if got := reasonsOf(r.quarantine("--reason", "stale")); len(got) != 2 {
			t.Errorf("with a reason: %q", got)
		}
		if got := r.quarantine("--source", "nobody"); len(got) != 0 {
			t.Errorf("of another source: %v", got)
		}
		shown := r.as("", "quarantine", "show", old).want(t, "show", exitOK)
		if !strings.Contains(shown.stdout, "stale") || strings.Contains(shown.stdout, "createInvestment") {
			t.Errorf("shown is:\n%s", shown.stdout)
		}
		for _, args := range [][]string{
			{"quarantine", "show", old, "--unseal"},
			{"quarantine", "release", old},
			{"quarantine", "discard", old, "--yes"},
			{"quarantine", "release", "--all"},
			{"rejected", "show", "1", "--unseal"},
		} {
			for _, who := range []string{"", "vera.token"} {
				r.as(who, args...).want(t, who+" "+strings.Join(args, " "), exitNotAllowed)
			}
		}
		r.as("ursula.token", "quarantine", "release", old).want(t, "release by ursula", exitNotAllowed)
		r.as("otto.token", "quarantine", "show", old, "--unseal").want(t, "unseal by otto", exitNotAllowed)
		if n := len(r.quarantine()); n != 3 || len(r.actions()) != 0 {
			t.Errorf("%d are left, and %q were told", n, r.actions())
		}
	})

	t.Run("mistakes say what to do", func(t *testing.T) {
		for what, tc := range map[string]struct {
			code int
			args []string
		}{
			"no id":             {exitUsage, []string{"quarantine", "release"}},
			"a bad id":          {exitUsage, []string{"quarantine", "show", "../x"}},
			"an id and all":     {exitUsage, []string{"quarantine", "release", "1", "--all"}},
			"a reason, not all": {exitUsage, []string{"quarantine", "release", "--reason", "stale"}},
			"no yes":            {exitUsage, []string{"quarantine", "discard", "1"}},
			"a bad output":      {exitUsage, []string{"quarantine", "list", "-o", "xml"}},
			"a bad source":      {exitUsage, []string{"quarantine", "list", "--source", "A B"}},
			"not there":         {exitNotFound, []string{"quarantine", "release", "4711"}},
			"no such delivery":  {exitNotFound, []string{"quarantine", "show", "abcdef"}},
			"not sealed shown":  {exitUsage, []string{"rejected", "show", "1"}},
			"no such push":      {exitNotFound, []string{"rejected", "show", "4711", "--unseal"}},
		} {
			got := r.as("data/ops.token", tc.args...).want(t, what, tc.code)
			if !strings.Contains(got.stderr, "next: ") {
				t.Errorf("%s: %s", what, got.stderr)
			}
		}
	})

	t.Run("what is opened is told", func(t *testing.T) {
		opened := r.as("ursula.token", "quarantine", "show", old, "--unseal").want(t, "show --unseal", exitOK)
		if !strings.Contains(opened.stdout, "createInvestment") {
			t.Errorf("opened is:\n%s", opened.stdout)
		}
	})

	t.Run("an old one that is believed is told", func(t *testing.T) {
		got := r.as("otto.token", "quarantine", "release", old, "-o", "json").want(t, "release", exitOK)
		if h := decoded[[]ops.Handled](t, got.stdout); len(h) != 1 || h[0].Outcome != "told" || h[0].DeliveryID != old {
			t.Errorf("%+v", h)
		}
		if m := next(t, events); !strings.HasSuffix(m.Subject(), "process.succeeded.old") {
			t.Errorf("published was %s", m.Subject())
		}
	})

	t.Run("what is still unusable stays, and the answer says so", func(t *testing.T) {
		got := r.as("otto.token", "quarantine", "release", bad).want(t, "release", exitFailed)
		if !strings.Contains(got.stdout, "kept") || !strings.Contains(got.stdout, "invalid_event") {
			t.Errorf("%s", got.stdout)
		}
		if diff := cmp.Diff([]string{"invalid_event", "stale"}, reasonsOf(r.quarantine())); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})

	t.Run("all that match", func(t *testing.T) {
		got := r.as("data/ops.token", "quarantine", "release", "--all", "--reason", "stale").want(t, "release --all", exitOK)
		if !strings.Contains(got.stdout, older) || strings.Contains(got.stdout, bad) {
			t.Errorf("%s", got.stdout)
		}
		if m := next(t, events); !strings.HasSuffix(m.Subject(), "process.succeeded.older") {
			t.Errorf("published was %s", m.Subject())
		}
		r.as("data/ops.token", "quarantine", "discard", bad, "--yes").want(t, "discard", exitOK)
		if left := r.quarantine(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		r.as("data/ops.token", "quarantine", "release", "--all").want(t, "release of none", exitOK)
	})

	want := []string{
		"unsealed ursula POSTERN_QUARANTINE/1",
		"quarantine_released otto " + old + " told",
		"quarantine_released otto " + bad + " kept",
		"quarantine_released ops.token " + older + " told",
		"quarantine_discarded ops.token " + bad,
	}
	if diff := cmp.Diff(want, r.actions()); diff != "" {
		t.Errorf("told of operators (-want +got):\n%s", diff)
	}
	if code := r.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestManyAreReleasedInTheirOrder(t *testing.T) {
	r := operated(t)
	events := subscribe(t, connect(t, r.broker))
	node := nodeOf(t, 12)
	var want, got []string
	for i := range 130 { // more than one request takes
		name := "p" + strings.Repeat("0", 3-len(strconv.Itoa(i))) + strconv.Itoa(i)
		r.pushed(stale(t, node, name))
		want = append(want, name)
	}
	r.relayed("quarantined", len(want))
	r.as("otto.token", "quarantine", "release", "--all", "--source", "corastone", "--reason", "stale").want(t, "release --all", exitOK)
	for range want {
		m := next(t, events)
		got = append(got, m.Subject()[strings.LastIndex(m.Subject(), ".")+1:])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if left := r.quarantine(); len(left) > 0 {
		t.Errorf("%d are left", len(left))
	}
	if n := len(r.actions()); n != len(want) {
		t.Errorf("%d releases were told", n)
	}
}

func TestRefusedPushesAreKeptAndTold(t *testing.T) {
	r := operated(t)
	node := nodeOf(t, 13)
	forged := func() corastonetest.Push {
		p := signed(t, node.Notification(investment("forged-1")))
		p.Body = bytes.Replace(p.Body, []byte("forged-1"), []byte("forged\x1b2"), 1)
		return p
	}
	for range 3 {
		if status, _ := r.pushed(forged()); status != http.StatusForbidden && status != http.StatusServiceUnavailable {
			t.Fatalf("answered %d", status)
		}
	}
	foreign := node.Notification(investment("foreign"))
	foreign.TopicARN = "arn:aws:sns:eu-central-1:999900001111:another"
	if status, _ := r.pushed(signed(t, foreign)); status != http.StatusForbidden {
		t.Fatalf("answered %d", status)
	}
	if a, err := r.pusher("127.0.0.8").Push(t.Context(), forged()); a.Status != http.StatusForbidden {
		t.Fatalf("a stranger is answered %d, %v", a.Status, err)
	}
	var list []ops.Record
	eventually(t, "they are kept", func() bool {
		out := r.as("", "rejected", "list", "-o", "json").want(t, "rejected list", exitOK)
		list = decoded[ops.Records](t, out.stdout).Records
		return len(list) >= 4
	})
	if len(list) != 4 || list[3].Reason != "topic" {
		t.Fatalf("kept: %+v", list)
	}
	if table := r.as("", "rejected", "list", "--reason", "topic").stdout; strings.Count(table, "\n") != 2 || !strings.Contains(table, "TopicArn") {
		t.Errorf("%s", table)
	}
	seq := strconv.Itoa(int(list[0].Sequence))
	shown := r.as("ursula.token", "rejected", "show", seq, "--unseal").want(t, "show", exitOK)
	if !strings.Contains(shown.stdout, "createInvestment") || !strings.Contains(shown.stdout, caller) || strings.Contains(shown.stdout, "\x1b") {
		t.Errorf("shown is %q", shown.stdout)
	}
	r.as("otto.token", "rejected", "show", seq, "--unseal").want(t, "show by otto", exitNotAllowed)

	status := r.as("", "status").want(t, "status", exitFailed)
	if !strings.Contains(status.stdout, "WRONG: 4 refusals") {
		t.Errorf("%s", status.stdout)
	}
	js := connect(t, strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
	told := map[string]int{}
	for _, m := range r.held(js, "POSTERN_OPS") {
		var body struct {
			Data struct{ Reason string } `json:"data"`
		}
		if err := json.Unmarshal(m.Data(), &body, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatal(err)
		}
		told[m.Subject()+" "+body.Data.Reason]++
	}
	want := map[string]int{
		"postern.ops.corastone.push_rejected " + list[0].Reason: 1, "postern.ops.corastone.push_rejected topic": 1,
		"postern.ops.postern.unsealed ": 1,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What is refused or put away is nowhere in the clear: not on disk, not in the
// log, not in the metrics.
func TestRefusedAndQuarantinedPayloadsAreNowhereInTheClear(t *testing.T) {
	const canary = "KanarienvogelXK4929"
	r := operated(t)
	node := nodeOf(t, 15)
	p := signed(t, node.Notification(investment(canary)))
	p.Body = bytes.Replace(p.Body, []byte("success"), []byte("failed!"), 1)
	if status, _ := r.pushed(p); status == http.StatusOK {
		t.Fatal("a forged push was accepted")
	}
	_, id := r.pushed(stale(t, node, canary))
	r.relayed("quarantined", 1)
	eventually(t, "the refused one is kept", func() bool {
		return strings.Contains(r.as("", "rejected", "list").stdout, "corastone")
	})
	var told bytes.Buffer
	js := connect(t, strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1))
	for _, stream := range []string{"POSTERN_OPS", "POSTERN_REJECTED", "POSTERN_QUARANTINE", "POSTERN_RAW"} {
		for _, m := range r.held(js, stream) {
			fmt.Fprint(&told, m.Subject(), m.Headers())
			told.Write(m.Data())
		}
	}
	r.as("data/ops.token", "quarantine", "discard", id, "--yes").want(t, "discard", exitOK)
	for _, args := range [][]string{{"status"}, {"quarantine", "list"}, {"rejected", "list", "-o", "json"}, {"streams", "status"}} {
		if got := r.as("", args...); strings.Contains(got.stdout+got.stderr, canary) {
			t.Errorf("%s shows it", args)
		}
	}
	res, err := http.Get(r.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := told.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	r.terminate()
	if bytes.Contains(told.Bytes(), []byte(canary)) || strings.Contains(r.stderr.String(), canary) {
		t.Error("messages, metrics or the log have it")
	}
	files := 0
	err = filepath.WalkDir(filepath.Join(r.dir, "data"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(canary)) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files were searched: %v", files, err)
	}
}
