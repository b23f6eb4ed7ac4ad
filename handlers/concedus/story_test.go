package concedus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// TestEachChangeIsToldOnce follows contracts through everything that can
// happen to them, and compares what is published with files.
func TestEachChangeIsToldOnce(t *testing.T) {
	within(t, settings(t), func(w *world) {
		golden := func(name string, events []schemas.Event) {
			w.Helper()
			handlerstest.Golden(w, "testdata/"+name+".golden", events)
		}
		w.release("N-CONTRACT-0001-A")
		golden("released_bootstrap", w.tells("released agent N-CONTRACT-0001-A"))
		w.quiet(2)

		w.release("N-CONTRACT-0002-B")
		golden("released", w.tells("released agent N-CONTRACT-0002-B"))
		w.quiet(2)

		w.server.Change("N-CONTRACT-0001-A", func(c *concedustest.Contract) { c.Share, c.Product, c.Signed = "1250.50", "North Bond II", "" })
		golden("changed", w.tells("changed agent N-CONTRACT-0001-A"))
		w.quiet(1)
		w.server.Change("N-CONTRACT-0001-A", func(*concedustest.Contract) {})
		w.quiet(1) // it was touched, and nothing is different
		w.server.Change("N-CONTRACT-0001-A", func(c *concedustest.Contract) { c.Share, c.Agio = "1250.500", "36" })
		w.quiet(1) // nor is the amount
		w.server.Change("N-CONTRACT-0001-A", func(c *concedustest.Contract) { c.Updated = "1999-12-01T09:08:07.06Z" })
		golden("changed_regressed", w.tells("changed agent N-CONTRACT-0001-A"))
		w.quiet(1)

		w.server.Submit("N-CONTRACT-0001-A", owner)
		golden("submitted_to_issuer", w.tells("submitted_to_issuer issuer-77 N-CONTRACT-0001-A"))
		golden("agent_approved", w.tells("absent agent N-CONTRACT-0001-A", "agent_approved agent N-CONTRACT-0001-A"))
		w.quiet(2)
		w.server.Change("N-CONTRACT-0001-A", func(c *concedustest.Contract) { c.InvestorName, c.Type = "Probst-Kern Dora", "RV3" })
		golden("changed_personal", w.tells("changed issuer-77 N-CONTRACT-0001-A"))

		w.server.SetCompliance("N-CONTRACT-0002-B", 402)
		w.pass(15 * time.Minute)
		golden("compliance_changed", w.tells("compliance_changed agent N-CONTRACT-0002-B"))
		w.server.SetCompliance("N-CONTRACT-0002-B", 403)
		w.pass(15 * time.Minute)
		w.quiet(1) // it is in the same bucket
		w.server.Reject("N-CONTRACT-0002-B", 300)
		w.quiet(1)
		golden("rejected", w.tells("absent agent N-CONTRACT-0002-B", "compliance_changed agent N-CONTRACT-0002-B", "rejected agent N-CONTRACT-0002-B"))
		w.quiet(2)

		w.server.Leave("N-CONTRACT-0001-A")
		w.quiet(1)
		golden("absent", w.tells("absent issuer-77 N-CONTRACT-0001-A"))
		w.quiet(3)
		w.pass(72 * time.Hour)
		golden("undetermined", w.tells("undetermined issuer-77 N-CONTRACT-0001-A"))
		w.quiet(3)
		w.server.Enter(owner, w.contract("N-CONTRACT-0001-A"))
		golden("reappeared", w.tells("reappeared issuer-77 N-CONTRACT-0001-A", "changed issuer-77 N-CONTRACT-0001-A"))
		w.watch.Restart()
		w.quiet(3)
	})
}

func TestAbsenceIsBelievedAfterTwoScans(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1", "A-2")
		w.tells("released agent A-1", "released agent A-2")
		w.server.Inject(concedustest.Fault{Endpoint: concedustest.EndpointAgentList, Kind: concedustest.Vanish})
		w.quiet(3)
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent agent A-1")
	})
}

func TestReappearanceEndsTheQuestion(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent agent A-1")
		w.quiet(1)
		w.server.Enter("", w.contract("A-1"))
		w.tells("reappeared agent A-1")
		w.pass(80 * time.Hour)
		w.quiet(2)

		// A new absence is a new question.
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent agent A-1")
		w.server.SetCompliance("A-1", 303)
		w.tells("compliance_changed agent A-1", "rejected agent A-1")
		w.quiet(2)
	})
}

// TestEachAbsenceHasOneOutcome: also a second absence, and with a receiver that
// was started again.
func TestEachAbsenceHasOneOutcome(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		for range 2 {
			w.server.Leave("A-1")
			w.quiet(1)
			w.tells("absent agent A-1")
			w.watch.Restart()
			w.pass(72 * time.Hour)
			events := w.tells("undetermined agent A-1")
			_, data := w.only(events, schemas.SubscriptionUndetermined)
			if e := data.Evidence; e.By != "deadline" || *e.Bucket != "released" || e.Owner != nil {
				t.Errorf("evidence %+v", e)
			}
			w.watch.Restart()
			w.pass(72 * time.Hour)
			w.quiet(2)
			// What it is found out later changes nothing of what was told.
			w.server.SetCompliance("A-1", 301)
			w.quiet(1)
			w.server.SetCompliance("A-1", 100)
			w.server.Enter("", w.contract("A-1"))
			w.tells("reappeared agent A-1")
		}
	})
}

// TestApprovalIsProvenByAnIssuersListOnly: by one that shows the contract or
// did since, and not by one that showed it before.
func TestApprovalIsProvenByAnIssuersListOnly(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		// It is through the issuer's hands before its absence is believed.
		w.server.Submit("A-1", owner)
		w.told(w.round("issuer-list-77"), "submitted_to_issuer issuer-77 A-1")
		w.server.Leave("A-1")
		w.told(w.round("issuer-list-77", "agent-list"))
		w.told(w.round("issuer-list-77", "agent-list"), "absent issuer-77 A-1", "absent agent A-1")
		w.tells("agent_approved agent A-1")
		w.quiet(2)

		// Back on the agent's list, it leaves that without the issuer's.
		w.server.Enter("", w.contract("A-1"))
		w.tells("reappeared agent A-1")
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent agent A-1")
		w.quiet(2)
		w.server.SetCompliance("A-1", 302)
		w.tells("compliance_changed agent A-1", "rejected agent A-1", "compliance_changed issuer-77 A-1", "rejected issuer-77 A-1")
		w.quiet(2)
	})
}

func TestWithoutAnAgentNobodyIsAsked(t *testing.T) {
	s := settings(t)
	s.Agent = nil
	within(t, s, func(w *world) {
		w.server.Enter(owner, w.contract("A-1"))
		w.server.SetCompliance("A-1", 300)
		w.tells("submitted_to_issuer issuer-77 A-1")
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent issuer-77 A-1")
		w.pass(72 * time.Hour)
		_, data := w.only(w.tells("undetermined issuer-77 A-1"), schemas.SubscriptionUndetermined)
		if data.Evidence.Bucket != nil || w.server.Count(concedustest.EndpointStatus) != 0 {
			t.Errorf("evidence %+v after %d questions", data.Evidence, w.server.Count(concedustest.EndpointStatus))
		}
	})
}

// TestOutcomesWaitForAnswers: whoever can't be asked proves nothing, and what
// was read before the absence does not either.
func TestOutcomesWaitForAnswers(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		w.server.SetCompliance("A-1", 301)
		w.pass(15 * time.Minute)
		w.tells("compliance_changed agent A-1")
		w.server.Leave("A-1")
		w.quiet(1)
		w.server.Inject(concedustest.Fault{Endpoint: concedustest.EndpointStatus, Kind: concedustest.Broken, Times: 3})
		for i := range 3 {
			events := w.round()
			if w.watch.Err() == nil {
				t.Error("the round did not fail")
			}
			w.told(events, [][]string{{"absent agent A-1"}, nil, nil}[i]...)
		}
		w.tells("rejected agent A-1")
	})
}

// TestFirstComplianceStatusIsNoChange, but a record where none was is one.
func TestFirstComplianceStatusIsNoChange(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1", "A-2")
		w.server.SetCompliance("A-1", 0)
		w.server.SetCompliance("A-2", 500)
		w.tells("released agent A-1", "released agent A-2")
		w.server.SetCompliance("A-1", 200)
		w.server.SetCompliance("A-2", 0)
		w.pass(15 * time.Minute)
		events := w.tells("compliance_changed agent A-2", "compliance_changed agent A-1")
		for _, e := range events {
			data := e.Data.(schemas.Contract)
			if (data.Compliance.Bucket == nil) == (data.Compliance.Previous == nil) {
				t.Errorf("%+v", data.Compliance)
			}
		}
	})
}

// TestGraveCodesAreToldToFew: nobody who reads the open stream may learn that
// there is a suspicion, whatever the code's last digits.
func TestGraveCodesAreToldToFew(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		w.server.Note("A-1", 379, "2026-03-04T05:06:07", "Verdacht auf Betrug durch Dora Probst")
		w.pass(15 * time.Minute)
		e, data := w.only(w.tells("compliance_changed agent A-1"), schemas.SubscriptionComplianceChanged)
		messages, err := e.Messages()
		if err != nil || len(messages) != 2 {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		if open := string(messages[0].Body); *data.Compliance.Bucket != "rejected" || strings.Contains(open, "379") || !strings.Contains(open, `"known":false`) {
			t.Errorf("open: %s", open)
		}
		twin := string(messages[1].Body)
		if !strings.Contains(twin, `"complianceCode":379`) || !strings.Contains(twin, `"previousComplianceCode":100`) || strings.Contains(twin, "Verdacht") {
			t.Errorf("twin: %s", twin)
		}
		if *data.Compliance.Modified != "2026-03-04T05:06:07+01:00" || e.Time != *data.Compliance.Modified || len(data.ZoneAssumed) != 1 {
			t.Errorf("modified %s, time %s, assumed %v", *data.Compliance.Modified, e.Time, data.ZoneAssumed)
		}
		if strings.Contains(string(w.watch.Stored()), "Verdacht") {
			t.Error("notes are kept")
		}
	})
}

func TestQuestionsArePaced(t *testing.T) {
	within(t, settings(t), func(w *world) {
		var want []string
		for i := range 70 { // more than a scan asks for
			key := fmt.Sprintf("A-%02d", i)
			w.release(key)
			want = append(want, "released agent "+key)
		}
		w.told(w.round("agent-list"), want...)
		began := time.Now()
		for range 18 {
			w.round("compliance")
		}
		var asked []time.Time
		for pseudonym, key := range w.names {
			times := w.server.Asked(key)
			if len(times) < 2 {
				t.Errorf("%s was asked for %d times in %v", pseudonym, len(times), time.Since(began))
			}
			for i := 1; i < len(times); i++ {
				if gap := times[i].Sub(times[i-1]); gap < 15*time.Minute-time.Second {
					t.Errorf("asked again after %v", gap)
				}
			}
			asked = append(asked, times...)
		}
		if most := time.Since(began)/time.Second + 1; len(asked) > int(most) {
			t.Errorf("asked %d times in %v", len(asked), time.Since(began))
		}
	})
}

// TestADeadlineIsOneForThoseWhoCannotBeAskedToo: until then nothing is
// concluded from that nobody answers.
func TestADeadlineIsOneForThoseWhoCannotBeAskedToo(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		w.tells("released agent A-1")
		w.server.Leave("A-1")
		w.quiet(1)
		w.tells("absent agent A-1")
		w.server.SetCompliance("A-1", 301)
		w.server.Agent("agent-user", "another-password")
		w.server.Expire()
		w.server.Forget()
		for range 3 {
			w.told(w.round())
			w.pass(20 * time.Hour)
			if w.watch.Err() == nil {
				t.Error("the round did not fail")
			}
		}
		w.pass(12 * time.Hour)
		_, data := w.only(w.round(), schemas.SubscriptionUndetermined)
		if data.Evidence.By != "deadline" || *data.Evidence.Bucket != "released" {
			t.Errorf("evidence %+v", data.Evidence)
		}
		w.told(w.round())
	})
}

// TestThoseThatAreRefusedHoldUpNobody: others are asked for all the same, and
// they only every fifteen minutes.
func TestThoseThatAreRefusedHoldUpNobody(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.server.Enter(owner, w.contract("A-0"))
		w.release("A-1", "A-2", "A-3", "A-4")
		w.server.Inject(concedustest.Fault{Endpoint: concedustest.EndpointStatus, Kind: concedustest.Forbidden, Times: 4})
		w.told(w.round(),
			"released agent A-1", "released agent A-2", "released agent A-3", "released agent A-4", "submitted_to_issuer issuer-77 A-0")
		if w.watch.Err() == nil || w.server.Count(concedustest.EndpointStatus) != 5 {
			t.Errorf("%v after %d questions", w.watch.Err(), w.server.Count(concedustest.EndpointStatus))
		}
		w.quiet(5)
		if n := w.server.Count(concedustest.EndpointStatus); n != 5 {
			t.Errorf("%d questions", n)
		}
		w.pass(15 * time.Minute)
		w.quiet(1)
		if n := w.server.Count(concedustest.EndpointStatus); n != 10 {
			t.Errorf("%d questions", n)
		}
	})
}
