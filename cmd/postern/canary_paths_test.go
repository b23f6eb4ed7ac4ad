package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

// Personal data that comes by a push is nowhere in the clear but on twins: not
// in the log, not in metrics, not in what anybody is answered, not in
// subjects, headers, ids, events or what operators hear, and in no file. 200
// pieces of it take every way that there is.
func TestPersonalDataIsNowhereInTheClear(t *testing.T) {
	a := newAviary(t)
	a.acceptsThem()
	a.believesARelay()
	a.quarantinesThem()
	a.refusesThem()
	a.hearsThemFromStrangers()
	a.readsBrokenRequests()
	a.quarantined()
	a.diesOfThem()
	a.operatesOnThem()
	a.reloads()
	if len(a.where) < 200 {
		t.Errorf("only %d canaries were planted", len(a.where))
	}
	t.Logf("%d canaries", len(a.where))

	a.answers.WriteString(a.scrape())
	onTwins := a.silentOnBus()
	for text := range a.twin {
		if a.twin[text] && !onTwins[text] {
			t.Errorf("what was planted in %s is on no twin, so that nothing is shown by its absence elsewhere", a.where[text])
		}
	}
	data := filepath.Join(a.dir, "data")
	a.silentOnDisk("while it runs", data)
	a.tool(exitOK, false, "backup", filepath.Join(a.dir, "copy"), "--ops", a.ops, "--token-file", filepath.Join(data, "ops.token"))
	a.silentOnDisk("a backup", filepath.Join(a.dir, "copy"))
	if code := a.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	a.silentOnDisk("after its end", data)
	a.begin()
	a.asked(exitOK, false, "streams", "status")
	a.silentOnDisk("after another start", data)
	a.kill()
	a.logs.WriteString(a.stderr.String())
	a.silent("the log", a.logs.Bytes(), nil)
	a.silent("answers", a.answers.Bytes(), nil)
	t.Logf("%d KiB of logs, %d KiB of answers", a.logs.Len()>>10, a.answers.Len()>>10)
}

// acceptsThem: they are in what the vocabulary doesn't know.
func (a *aviary) acceptsThem() {
	for _, message := range []string{
		`{"transaction":{"processId":"c1","status":"success","type":"issuance","method":"createInvestment","timestamp":"2026-03-02T08:15:30.250Z",
		  "investorName":"¤","investor":{"name":"¤","passport":"§","deep":[[{"iban":"¤"}]]},
		  "remediation":[{"code":"EC002","message":"¤"},{"code":"EC003","message":"§","files":[{"name":"¤.pdf"}]}],
		  "blockchainDetails":{"blockNumber":7,"channelName":"w","transactionId":"t1","payer":"¤"},
		  "details":{"assetIds":["A1"],"holder":"¤","holders":["¤","¤"],"¤":"¤","accountIds":[1,"¤"]}},"sender":"¤","¤":["¤"]}`,
		`{"orchestration":{"orchestrationId":"c2","status":"failed","startDate":"¤","processIds":["c1"],"reason":"¤","¤":1,"contacts":{"mail":"§","phone":"¤"}}}`,
		`{"error":{"errorId":"c3","timestamp":"¤","message":"¤","stack":["¤"],"action":{"id":"PM1","name":"Recall Asset","input":"¤",
		  "httpData":{"method":"PUT","url":"/external/v1/asset/x?name=¤&q=§#¤","body":{"iban":"¤"},"headers":{"Authorization":"¤"}}}}}`,
		`{"error":{"errorId":"c4","action":{"httpData":{"method":"GET","url":"https://¤@api.example/external/v1/asset"}}}}`,
		`{"error":{"errorId":"c5","action":{"httpData":{"method":"GET","url":"mailto:¤"}}}}`,
		`{"error":{"errorId":"c6","action":{"httpData":{"method":"GET","url":"¤"}}}}`,
		`{"error":{"errorId":"c7","action":{"httpData":{"method":"GET","url":"/external/v1/investor/¤/documents"}}}}`,
		`{"error":{"errorId":"c8","action":{"httpData":{"method":"GET","url":"/%zz/¤"}}}}`,
		`{"job":{"id":"c9","timestamp":"¤","payload":{"name":"¤","¤":"¤"},"log":["¤","§"]}}`,
		`[{"transaction":{"processId":"c10","status":"queued","remark":"¤"}},{"job":["¤"]}]`,
	} {
		a.notify(a.told("an entry", message))
	}
	for _, message := range []string{
		`{"transaction":{"processId":"o1","status":"¤","type":"¤","method":"¤","orgId":"¤"}}`,
		`{"orchestration":{"orchestrationId":"o2","status":"¤","processIds":["¤"]}}`,
		`{"error":{"errorId":"o3","action":{"id":"¤","name":"¤","httpData":{"method":"¤"}}}}`,
	} {
		a.notify(a.public("a word of the platform", message))
	}

	e := a.node.Notification(corastonetest.Text(`{"transaction":{"processId":"c11","status":"success"}}`))
	subject := a.plant("a Subject")
	e.Subject, e.MessageID = &subject, a.plant("a MessageId")
	e.UnsubscribeURL = "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + a.plant("an UnsubscribeURL")
	e.MessageAttributes = map[string]corastonetest.Attribute{a.plant("an attribute's name"): {Type: a.plant("an attribute's type"), Value: a.plant("an attribute")}}
	p := signed(a.t, e)
	for _, name := range []string{"User-Agent", "X-Forwarded-For", "Forwarded", "Authorization", "Cookie", "Referer", "Content-Type", "X-Request-Id", "X-Amz-Sns-Subscription-Arn"} {
		p.Header.Set(name, a.plant("the header "+name))
	}
	a.made++
	a.wants(http.StatusOK, "corastone", p)
	a.wants(http.StatusOK, "corastone", p) // a repeat

	for _, typ := range []string{corastonetest.TypeSubscriptionConfirmation, corastonetest.TypeUnsubscribeConfirmation} {
		e := a.node.Confirmation(typ)
		e.Message, e.Token = a.plant("a confirmation's Message"), a.plant("a Token")
		e.SubscribeURL = "https://" + a.ascii("the host of a SubscribeURL") + ".example/?Token=" + url.QueryEscape(a.plant("a SubscribeURL"))
		a.made++
		a.wants(http.StatusOK, "corastone", signed(a.t, e))
	}
}

// believesARelay: bare entries come with headers of their own.
func (a *aviary) believesARelay() {
	secret := strings.TrimSpace(readFile(a.t, filepath.Join(a.dir, "relay.secret")))
	p := entryOf(corastonetest.Text(a.told("a bare entry", `{"job":{"name":"¤"}}`)), "X-Relay", secret, "X-Amz-Sns-Message-Id", a.plant("a bare entry's message id"))
	a.wants(http.StatusOK, "relay", p)
	a.wants(http.StatusOK, "relay", p)
	a.wants(http.StatusOK, "relay", entryOf(corastonetest.Text(a.fill("a bare entry that is none", `"¤`)), "X-Relay", secret))
	a.wants(http.StatusOK, "off", entryOf(corastonetest.Text(a.told("an entry of anybody", `{"job":{"name":"¤"}}`))))
	a.wants(http.StatusOK, "off", entryOf(corastonetest.Text(a.fill("a form", `name=¤&iban=¤`))))
	for _, p := range []corastonetest.Push{
		entryOf(corastonetest.Text(a.fill("a stranger's entry", `{"job":{"name":"¤"}}`)), "X-Relay", a.plant("a wrong secret")),
		entryOf(corastonetest.Text(a.fill("an entry without the secret", `{"job":{"name":"¤"}}`))),
		entryOf(corastonetest.Text(`{"job":1}`), "X-Relay", secret, "X-Amz-Sns-Message-Id", "1", "X-Amz-Sns-Message-Id", a.plant("a second message id")),
		entryOf(corastonetest.Text(`{"job":2}`), "X-Relay", secret, "X-Amz-Sns-Topic-Arn", a.plant("a header's topic")),
		entryOf(corastonetest.Text(`{"job":3}`), "X-Relay", secret, "X-Amz-Sns-Message-Type", a.plant("a header's type")),
	} {
		a.wants(http.StatusForbidden, "relay", p)
	}
}

// quarantinesThem: what is authentic and can't be used quotes nothing.
func (a *aviary) quarantinesThem() {
	for _, message := range []string{
		// bad_json
		`{"transaction":{"processId":"q1","status":"succ¤`,
		`{"transaction":{"investor":"¤"`,
		`¤`,
		`{"transaction":{"processId":"q2","status":"success"}} ¤`,
		`{"name":"¤","name":"§"}`,
		`{"transaction":{"processId":"q3","status":"success","n":1e¤}}`,
		`{"transaction":¤}`,
		`{'name':'¤'}`,
		`{"name":"\ud800¤"}`,
		`{"name":"\u0000¤"}`,
		strings.Repeat(`{"¤":`, 2) + strings.Repeat(`[`, 70) + `"¤"` + strings.Repeat(`]`, 70) + `}}`,
		// unknown_kind
		`{"¤":{"name":"¤"}}`,
		`{"investor":{"name":"¤"}}`,
		// invalid_event
		`{"transaction":{"status":"¤"}}`,
		`{"transaction":"¤"}`,
		`{"transaction":["¤"]}`,
		`{"transaction":{"processId":{"¤":"¤"},"status":"success"}}`,
		`{"transaction":{"processId":"q4","status":["¤"]}}`,
		`{"transaction":{"processId":"q5","status":"success","timestamp":{"¤":1}}}`,
		`{"transaction":{"processId":"q6","status":"success","blockchainDetails":{"blockNumber":"¤"}}}`,
		`{"transaction":{"processId":"q7","status":"success","details":"¤"}}`,
		`{"transaction":{"processId":"` + strings.Repeat("¤", 1) + strings.Repeat("x", 600) + `","status":"success"}}`,
		`{"orchestration":{"orchestrationId":"q8","status":"failed","processIds":[{"¤":1}]}}`,
		`{"transaction":{"processId":"q9","status":"success"},"job":{"¤":1}}`,
		`{"error":{"errorId":"","message":"¤"}}`,
		`{"job":"¤"}`,
		`[{"job":{"name":"¤"}},"¤"]`,
		// panic
		`{"transaction":{"processId":"` + panicsAt + `","status":"success","remark":"¤"}}`,
	} {
		a.notify(a.fill("an entry that can't be used", message))
	}
	twice := a.plant("a name that is there twice")
	a.notify(fmt.Sprintf(`{"%s":1,"%[1]s":2}`, twice))

	// conflict: of a fact, and of a transport id.
	a.notify(a.fill("a contradiction", `{"transaction":{"processId":"c1","status":"success","remark":"¤","blockchainDetails":{"blockNumber":8,"channelName":"w","transactionId":"¤"}}}`))
	e := a.node.Notification(corastonetest.Text(`{"transaction":{"processId":"q10","status":"success"}}`))
	a.made++
	a.wants(http.StatusOK, "corastone", signed(a.t, e))
	e.Message = a.fill("other content under the same id", `{"transaction":{"processId":"¤","status":"¤"}}`)
	a.made++
	a.wants(http.StatusOK, "corastone", signed(a.t, e))

	// stale
	for _, timestamp := range []string{"2020-01-02T03:04:05.000Z", "2099-01-02T03:04:05.000Z", a.plant("a Timestamp")} {
		e := a.node.Notification(corastonetest.Text(a.fill("an old entry", `{"transaction":{"processId":"¤","status":"success"}}`)))
		e.Timestamp = timestamp
		a.made++
		a.wants(http.StatusOK, "corastone", signed(a.t, e))
	}
}

// quarantined waits until all is told or in quarantine, and looks there.
func (a *aviary) quarantined() {
	a.t.Helper()
	eventually(a.t, "everything is relayed", func() bool { return a.metric("postern_journal_entries") == "0" })
	reasons := map[string]bool{}
	for _, r := range decoded[ops.Records](a.t, a.asked(exitOK, false, "quarantine", "list", "-o", "json")).Records {
		reasons[r.Reason] = true
		a.asked(exitOK, false, "quarantine", "show", strconv.Itoa(int(r.Sequence)))
	}
	want := map[string]bool{"bad_json": true, "unknown_kind": true, "invalid_event": true, "conflict": true, "stale": true, "panic": true}
	if diff := cmp.Diff(want, reasons); diff != "" {
		a.t.Errorf("reasons of quarantine (-want +got):\n%s", diff)
	}
	want = map[string]bool{"topic": true, "signature": true, "certificate": true, "header": true, "unverifiable": true, "size": true}
	eventually(a.t, "every reason of a refusal is kept", func() bool {
		list := decoded[ops.Records](a.t, a.asked(exitOK, false, "rejected", "list", "-o", "json")).Records
		reasons := map[string]bool{}
		for _, r := range list {
			reasons[r.Reason] = true
		}
		return cmp.Equal(want, reasons)
	})
}

// diesOfThem: the process dies three times at an entry.
func (a *aviary) diesOfThem() {
	a.t.Helper()
	deadly := signed(a.t, a.node.Notification(corastonetest.Text(
		a.fill("an entry that kills", `{"transaction":{"processId":"`+diesOf+`","status":"success","remark":"¤"}}`))))
	res, err := a.client(caller).Post("https://"+a.gate()+"/hooks/corastone", "text/plain", bytes.NewReader(deadly.Body))
	if err == nil { // it may die before its answer is out
		_ = res.Body.Close()
	}
	<-a.ended
	a.running = false
	a.logs.WriteString(a.stderr.String())
	for range 2 {
		again := a.command("serve")
		again.Stderr = &a.logs
		_ = again.Run() // the exit code says it
		if code := again.ProcessState.ExitCode(); code != 9 {
			a.t.Fatalf("it does not die of it: exit code %d", code)
		}
	}
	a.stderr = &lines{} // which is in logs
	a.begin()
	eventually(a.t, "the entry that kills is in quarantine", func() bool {
		return strings.Contains(a.asked(exitOK, false, "quarantine", "list"), "poison")
	})
}

// operatesOnThem: operators release, discard, open, and mistype.
func (a *aviary) operatesOnThem() {
	list := decoded[ops.Records](a.t, a.asked(exitOK, false, "quarantine", "list", "-o", "json")).Records
	opened, released := false, map[string]bool{}
	for _, r := range list {
		seq := strconv.Itoa(int(r.Sequence))
		if !opened {
			opened = len(a.ear.Hear([]byte(a.asked(exitOK, true, "quarantine", "show", seq, "--unseal")))) > 0
		}
		if released[r.Reason] || r.Reason == "poison" || r.Reason == "stale" {
			continue // a stale one becomes an event, with the key that it has
		}
		released[r.Reason] = true
		a.asked(exitNotAllowed, false, "quarantine", "release", seq) // ursula only opens
		cmd := []string{"quarantine", "release", seq, "--token-file", filepath.Join(a.dir, "data", "ops.token"), "--ops", a.ops}
		if r.Reason == "conflict" {
			cmd[1] = "discard"
			a.tool(exitOK, false, append(cmd, "--yes")...)
			continue
		}
		a.tool(exitFailed, false, cmd...)
	}
	if !opened {
		a.t.Error("nothing was heard in what was opened, so that nothing is shown by the silence elsewhere")
	}
	first := decoded[ops.Records](a.t, a.asked(exitOK, false, "rejected", "list", "-o", "json")).Records[0]
	a.asked(exitUsage, false, "rejected", "show", strconv.Itoa(int(first.Sequence)))
	a.asked(exitOK, true, "rejected", "show", strconv.Itoa(int(first.Sequence)), "--unseal")
	a.asked(exitFailed, false, "status") // there is something to do
	a.asked(exitOK, false, "tail", "--source", "relay", "--last", "1", "--count", "1")

	for _, path := range []string{"/api/v1/quarantine?reason=%s", "/api/v1/tail?source=%s", "/api/v1/%s", "/schemas/%s", "/readyz?%s"} {
		req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.ops+fmt.Sprintf(path, url.PathEscape(a.plant("a request of an operator"))), http.NoBody)
		if err != nil {
			a.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+a.ascii("a wrong token"))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			a.t.Fatal(err)
		}
		_, _ = io.Copy(&a.answers, res.Body)
		_ = res.Body.Close()
	}

	envelope := signed(a.t, a.node.Notification(corastonetest.Text(a.fill("what verify is asked about", `{"transaction":{"processId":"v1","status":"success","remark":"¤"}}`))))
	a.write("envelope.json", string(envelope.Body))
	a.tool(exitOK, false, "verify", "--source", "corastone", filepath.Join(a.dir, "envelope.json"))
	a.write("envelope.json", a.fill("what verify can't read", `{"Type":"Notification","Message":"¤`))
	a.tool(exitFailed, false, "verify", "--source", "corastone", filepath.Join(a.dir, "envelope.json"))
}

// reloads: secrets are replaced, and mistakes with them are told.
func (a *aviary) reloads() {
	good := readFile(a.t, filepath.Join(a.dir, "more.yaml"))
	const failed = "postern_config_last_reload_successful"
	reload := func(want string) {
		a.t.Helper()
		if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			a.t.Fatal(err)
		}
		eventually(a.t, "the configuration is read again", func() bool { return a.metric(failed) == want })
	}
	for _, slip := range []string{
		`[{file: relay.secret}, "` + a.plant("a secret that stands in the configuration") + `"]`,
		`{file: "` + a.plant("a file of a secret that is a secret") + `"}`,
	} {
		a.write("more.yaml", strings.Replace(good, "[{file: relay.secret}]", slip, 1))
		reload("0")
		a.tool(exitConfig, false, "config", "check")
		a.write("more.yaml", good)
		reload("1")
	}
	a.write("relay.secret", a.plant("a secret that no header can hold")+"ü\n")
	reload("0")
	a.tool(exitConfig, false, "config", "check")
	a.write("relay.secret", a.ascii("the next secret of a relay")+"\n")
	reload("1")
	a.tool(exitOK, false, "config", "show")
}

// scrape returns /metrics.
func (a *aviary) scrape() string {
	a.t.Helper()
	res, err := http.Get(a.ops + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(text), "postern_quarantined_total") {
		a.t.Fatalf("%v\n%s", err, text)
	}
	return string(text)
}
