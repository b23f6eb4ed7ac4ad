package corastone_test

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/schemas"
)

func because(category string) []corastonetest.Reason {
	return []corastonetest.Reason{{Category: category, Message: "Please look at it again"}}
}

// categories returns, for each event with reasons, its step and their
// categories; "null" if there are none yet.
func categories(events []schemas.Event) (list [][]string) {
	for _, e := range events {
		a, ok := e.Data.(schemas.Asset)
		if !ok || a.Reasons == nil {
			continue
		}
		line := []string{e.Type.Event()}
		if *a.Reasons == nil {
			line = append(line, "null")
		}
		for _, r := range *a.Reasons {
			line = append(line, r.Category)
		}
		list = append(list, line)
	}
	return list
}

// Each remediation has its own reasons, whenever they come, and not those of
// the one before.
func TestARemediationHasItsOwnReasons(t *testing.T) {
	a := ask(t)
	lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
	hear := func(want ...[]string) {
		t.Helper()
		a.push(1)
		if diff := cmp.Diff(want, categories(a.follow())); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		a.Advance(time.Minute)
	}
	hear()
	a.done(a.ledger.RequestRemediation(lot, because("EC001")))
	hear([]string{"remediation_requested", "EC001"})
	a.done(a.ledger.Remediate(lot))
	hear()
	a.done(a.ledger.RequestRemediation(lot, nil))
	hear([]string{"remediation_requested", "null"})
	a.done(a.ledger.Remediate(lot))
	hear()
	// Those of the second never came.
	a.done(a.ledger.RequestRemediation(lot, because("EC003")))
	hear([]string{"remediation_requested", "EC003"})
	a.done(a.ledger.Remediate(lot))
	hear()
	a.done(a.ledger.RequestRemediation(lot, nil))
	hear([]string{"remediation_requested", "null"})
	a.done(a.ledger.AddReasons(lot, because("EC004")))
	hear([]string{"remediation_reasons_added", "EC004"})
	a.Redeliver()
	hear()
}

// Reasons that come in a comment that no process brings are found by the poller
// of assets.
func TestReasonsAreFoundWithoutAProcess(t *testing.T) {
	a := ask(t)
	lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
	a.done(a.ledger.RequestRemediation(lot, nil))
	a.push(1)
	a.follow()
	a.Advance(6 * time.Hour)
	if got := categories(a.Round("assets")); got != nil {
		t.Errorf("reasons that are not there: %v", got)
	}
	a.done(a.ledger.AddReasons(lot, because("EC005"), corastonetest.Quiet()))
	for _, want := range [][][]string{{{"remediation_reasons_added", "EC005"}}, nil} {
		a.Advance(6 * time.Hour)
		if diff := cmp.Diff(want, categories(a.Round("assets"))); diff != "" || a.Err() != nil {
			t.Errorf("reasons (-want +got):\n%s%v", diff, a.Err())
		}
	}
}

// Comments that can't be read delay a step by minutes, and not for ever.
func TestARemediationIsToldWithoutComments(t *testing.T) {
	a := ask(t)
	lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.ledger.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointComment, Kind: corastonetest.NotFound, Until: a.Now().Add(time.Hour)})
	a.done(a.ledger.RequestRemediation(lot, because("EC002")))
	a.push(1)
	if events := a.Follow(); len(events) > 0 {
		t.Errorf("told %v", names(events))
	}
	a.Advance(11 * time.Minute)
	if diff := cmp.Diff([][]string{{"remediation_requested", "null"}}, categories(a.follow())); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	a.Advance(6 * time.Hour)
	if diff := cmp.Diff([][]string{{"remediation_reasons_added", "EC002"}}, categories(a.Round("assets"))); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// Free text where a code is expected stays on the twin; what else a reason says
// is told.
func TestACategoryIsACode(t *testing.T) {
	a := ask(t)
	lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.alter = func(path string, body []byte) []byte {
		if path == pathComments {
			return bytes.ReplaceAll(body, []byte(`"EC006"`), []byte(`"Beispiel"`))
		}
		return body
	}
	a.done(a.ledger.RequestRemediation(lot, []corastonetest.Reason{
		{Category: "ec001"},
		{Category: "EC006", Documents: []corastonetest.Document{{FileID: "FILE00000001", Name: "passport.pdf", Pages: []corastonetest.Page{{Number: 2}}}}},
		{Category: "XY77"},
	}))
	a.push(1)
	events := a.follow()
	file := "FILE00000001"
	want := schemas.RemediationReasons{
		{Category: "EC001", Label: schemas.DescribeCategory("EC001"), Documents: []schemas.RemediationDocument{}},
		{Documents: []schemas.RemediationDocument{{FileID: &file, Pages: []int64{2}}}},
		{Category: "XY77", Documents: []schemas.RemediationDocument{}},
	}
	if diff := cmp.Diff(&want, assets(events)[0].Reasons); diff != "" || want[0].Label == nil {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// Reasons of which one can't be read are told in none: half of them would be
// taken for all.
func TestHalfOfTheReasonsAreNone(t *testing.T) {
	a := ask(t)
	lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.alter = func(path string, body []byte) []byte {
		if path == pathComments {
			return bytes.ReplaceAll(body, []byte(`"EC002"`), []byte(`{"code":"EC002"}`))
		}
		return body
	}
	a.done(a.ledger.RequestRemediation(lot, []corastonetest.Reason{{Category: "EC001"}, {Category: "EC002"}}))
	a.push(1)
	if diff := cmp.Diff([][]string{{"remediation_requested", "null"}}, categories(a.follow())); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	a.alter = nil
	a.Advance(6 * time.Hour)
	if diff := cmp.Diff([][]string{{"remediation_reasons_added", "EC001", "EC002"}}, categories(a.Round("assets"))); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// An id is the same in whichever case an answer writes it, and is told as the
// list of assets does.
func TestAnIDIsTheSameInAnyCase(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	small := strings.ToLower(lot)
	if small == lot {
		t.Fatalf("%s has no case", lot)
	}
	a.rewrite = func(_ string, query url.Values) {
		for _, values := range query {
			values[0] = strings.ReplaceAll(values[0], small, lot)
		}
	}
	a.alter = func(path string, body []byte) []byte {
		switch path {
		case pathHistory, pathTransactions, pathComments:
			return bytes.ReplaceAll(body, []byte(lot), []byte(small))
		}
		return body
	}
	a.push(1)
	expect(t, "of a process", []string{"subscription.created"}, of(a.follow(), lot))
	a.done(a.ledger.RequestRemediation(lot, because("EC001")))
	a.push(1)
	events := a.follow()
	expect(t, "of a remediation", []string{"subscription.remediation_requested"}, of(events, lot))
	expect(t, "its reason", []string{"remediation_requested", "EC001"}, slices.Concat(categories(events)...))
	a.Advance(6 * time.Hour)
	if events := a.Round("assets"); len(events) > 0 || a.Err() != nil {
		t.Errorf("told by the poller: %v, with %v", names(events), a.Err())
	}
}
