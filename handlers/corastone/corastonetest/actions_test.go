package corastonetest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// TestOfferingTakesItsSubscriptionsWithIt: all but those that are gone already.
func TestOfferingTakesItsSubscriptionsWithIt(t *testing.T) {
	type action = func(string, ...corastonetest.How) (corastonetest.Receipt, error)
	for status, do := range map[string]func(*corastonetest.Ledger) []action{
		"canceled": func(l *corastonetest.Ledger) []action { return []action{l.Cancel} },
		"refunded": func(l *corastonetest.Ledger) []action { return []action{l.Cancel, l.Refund} },
		"busted":   func(l *corastonetest.Ledger) []action { return []action{l.Bust} },
	} {
		l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{})
		kept, accepted, gone := subscribe(t, l, fundID).AssetID, subscribe(t, l, fundID).AssetID, subscribe(t, l, fundID).AssetID
		if _, err := l.Accept([]string{accepted}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reject(gone); err != nil {
			t.Fatal(err)
		}
		var last corastonetest.Receipt
		for _, act := range do(l) {
			var err error
			if last, err = act(fundID); err != nil {
				t.Fatal(status, err)
			}
		}
		got := []string{l.AssetStatus(kept), l.AssetStatus(accepted), l.AssetStatus(gone)}
		if diff := cmp.Diff([]string{status, status, "disposed"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", status, diff)
		}
		c := newCaller(t, l)
		finish := c.rows("transactions", "processIdsFilter", last.ProcessIDs[len(last.ProcessIDs)-1])
		if details := jsonOf(t, finish[0]["details"]); !strings.Contains(details, kept) || !strings.Contains(details, accepted) || strings.Contains(details, gone) {
			t.Errorf("%s touched %s", status, details)
		}
		if rows := c.rows("securities"); rows[0]["isRestricted"] != true {
			t.Errorf("%s, and not restricted", status)
		}
	}
}

func TestAssignmentsNameOrganisations(t *testing.T) {
	l := corastonetest.NewLedger(corastonetest.Options{Now: newClock().now})
	ours, others := l.AddSecurity(corastonetest.Security{}), l.AddSecurity(corastonetest.Security{})
	l.AddOrg("RIVAL", "Stand-in Rival")
	for _, err := range []error{
		did(l.Open(ours)), did(l.Assign(ours)), did(l.AssignOther(ours, "RIVAL")), did(l.AssignOther(others, "RIVAL")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newCaller(t, l)
	want := `[{"name":"Stand-in Wealth","orgId":"WLTH1","status":"assigned"},{"name":"Stand-in Rival","orgId":"RIVAL","status":"assigned"}]`
	if got := jsonOf(t, c.rows("exclusivity", "securityIdsFilter", ours)); got != want {
		t.Errorf("%s", got)
	}
	if got := c.rows("exclusivity/pending-assignments"); len(got) != 1 || got[0]["securityId"] != ours {
		t.Errorf("%v waits for us", got)
	}
	if err := did(l.AcceptAssignment(ours)); err != nil {
		t.Fatal(err)
	}
	if got := c.rows("exclusivity/pending-assignments"); len(got) != 0 {
		t.Errorf("%v waits for us", got)
	}
	if err := did(l.AssignOther(ours, "NOBODY")); refusal(err) != "OG0002" {
		t.Error(err)
	}
}

func did(_ corastonetest.Receipt, err error) error { return err }

func TestErrorsAndJobsAreEntries(t *testing.T) {
	var o told
	l, fundID := fund(t, corastonetest.Options{Tell: o.tell}, corastonetest.Security{})
	before := len(o.names())
	id := l.LogError("IS0102", "tracking", fundID)
	l.LogJob("nightly")
	if diff := cmp.Diff([]string{"error", "job"}, o.names()[before:]); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
	c := newCaller(t, l)
	rows := c.sequence().Sequence
	if e, j := rows[len(rows)-2]["error"], rows[len(rows)-1]["job"]; e["errorId"] != id || e["errorDetails"] != nil || j["name"] != "nightly" {
		t.Errorf("%v and %v", e, j)
	}
	for _, filter := range [][2]string{{"errorIdsFilter", id}, {"trackingIdsFilter", "tracking"}, {"securityIdsFilter", fundID}} {
		if rows := c.rows("error-log", filter[0], filter[1]); len(rows) != 1 || !strings.Contains(jsonOf(t, rows[0]["errorDetails"]), `"code":"IS0102"`) {
			t.Errorf("%v: %v", filter, rows)
		}
	}
}

// TestChannelIsWrittenInTwoWays: pushes and the API differ in its case, and
// filters take either.
func TestChannelIsWrittenInTwoWays(t *testing.T) {
	var o told
	l, fundID := fund(t, corastonetest.Options{Tell: o.tell}, corastonetest.Security{})
	r := subscribe(t, l, fundID)
	push, _ := o.entries[len(o.entries)-2].(corastonetest.Process)
	c := newCaller(t, l)
	row := c.rows("transactions", "processIdsFilter", r.ProcessIDs[0])[0]
	place, _ := row["blockchainDetails"].(map[string]any)
	channel := push.BlockchainDetails.ChannelName
	if channel != "standin1" || place["channelName"] != "STANDIN1" {
		t.Errorf("%s and %v", channel, place["channelName"])
	}
	if push.OrgID != "" || push.OrchestrationID != "" || push.Details["securityIds"] != nil {
		t.Errorf("a push has more than it should: %+v", push)
	}
	for _, name := range []string{channel, strings.ToUpper(channel)} {
		if rows := c.rows("asset/history", "channelName", name, "transactionId", push.BlockchainDetails.TransactionID); len(rows) != 1 {
			t.Errorf("%s: %v", name, rows)
		}
	}
	if status, _ := c.get("asset/history", "channelName", strings.Repeat("x", 21)); status != http.StatusBadRequest {
		t.Errorf("a channel of 21 characters: %d", status)
	}
}
