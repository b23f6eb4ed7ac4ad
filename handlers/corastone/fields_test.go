package corastone_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/schemas"
)

// The body of Get Asset Details is undocumented: what looks like what is looked
// for is told as it was written, and what doesn't is null.
func TestWhatAnAssetsDetailsMayLookLike(t *testing.T) {
	text := func(s string) *string { return &s }
	euros := func(s string) *schemas.Money { return &schemas.Money{Value: s, Currency: "EUR"} }
	for name, c := range map[string]struct {
		row  string // what is after assetId and status
		want schemas.Asset
	}{
		"nothing else": {``, schemas.Asset{}},
		"plain": {
			`"securityId":"S1","amount":"1200.50","currency":"EUR","units":12.5,"price":96.04,"frontEndFee":"0.00","issueDate":"2026-03-01","settlementDate":"2026-03-02T00:00:00.000Z"`,
			schemas.Asset{
				SecurityID: text("S1"), Amount: euros("1200.50"), Units: text("12.5"), Price: euros("96.04"), FrontEndFee: euros("0.00"),
				IssueDate: text("2026-03-01"), SettlementDate: text("2026-03-02T00:00:00.000Z"),
				Inferred: []string{"amount", "frontEndFee", "issueDate", "price", "settlementDate", "units"},
			},
		},
		"nested": {
			`"transactionData":{"securityId":"S1","amount":100000.00,"units":"1"},"shareClass":{"securityId":"S1I01"},"amount":null`,
			schemas.Asset{
				SecurityID: text("S1"), ShareClassID: text("S1I01"), Amount: &schemas.Money{Value: "100000.00"}, Units: text("1"),
				Inferred: []string{"amount", "securityId", "shareClassId", "units"},
			},
		},
		"an amount with its currency": {
			`"amount":{"value":"7.00","currency":"EUR"},"price":{"amount":3,"currencyCode":"EUR"}`,
			schemas.Asset{Amount: euros("7.00"), Price: euros("3"), Inferred: []string{"amount", "price"}},
		},
		"correlation ids": {
			`"correlationData":[{"correlationId":"ORD-1","orgId":"WLTH1"},"ORD-2",{"orgId":"WLTH1"}]`,
			schemas.Asset{CorrelationIDs: &[]schemas.CorrelationID{{CorrelationID: "ORD-1", OrgID: text("WLTH1")}, {CorrelationID: "ORD-2"}}},
		},
		"no correlation ids": {`"correlationData":[]`, schemas.Asset{CorrelationIDs: &[]schemas.CorrelationID{}}},
		"what is no number":  {`"amount":"Ida Beispiel","units":"1e6","price":["1"],"frontEndFee":{"value":true}`, schemas.Asset{Inferred: []string{"amount", "frontEndFee", "price", "units"}}},
		"what is no date":    {`"issueDate":"when Ida Beispiel signs","settlementDate":{}`, schemas.Asset{Inferred: []string{"issueDate", "settlementDate"}}},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
			a.alter = func(path string, body []byte) []byte {
				if path != pathAssets {
					return body
				}
				row := `[{"assetId":"` + lot + `","status":"created"`
				if c.row != "" {
					row += "," + c.row
				}
				return []byte(row + "}]")
			}
			a.push(1)
			got := assets(a.follow())
			if len(got) != 1 {
				t.Fatalf("told %+v", got)
			}
			status, event := "created", "Created"
			c.want.Platform, c.want.AssetID, c.want.NativeStatus, c.want.NativeEvent = "corastone", lot, &status, &event
			c.want.Ledger = got[0].Ledger
			if diff := cmp.Diff(c.want, got[0]); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

// A row without an id or a status is no answer.
func TestRowsThatAreNoneAreNoAnswer(t *testing.T) {
	for name, alter := range map[string]func([]byte) []byte{
		"no status": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"status"`), []byte(`"statuses"`)) },
		"no id":     func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"assetId"`), []byte(`"assetIds"`)) },
		"no object": func([]byte) []byte { return []byte(`["x"]`) },
		"no list":   func([]byte) []byte { return []byte(`"x"`) },
		"no JSON":   func([]byte) []byte { return []byte(`<html>`) },
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			lot := a.done(a.ledger.Subscribe(a.fund(), corastonetest.Subscription{}))
			a.alter = func(path string, body []byte) []byte {
				if path == pathAssets {
					return alter(body)
				}
				return body
			}
			a.push(1)
			if events := a.Follow(); len(events) > 0 || len(a.Unanswered()) != 1 {
				t.Errorf("told %v", names(events))
			}
			if a.Round("assets"); a.Err() == nil {
				t.Error("the poller took it for a list")
			}
			a.alter = nil
			expect(t, "then", []string{"subscription.created"}, of(a.follow(), lot))
		})
	}
}

// Deliveries of follow-ups that can't be read go to quarantine, whatever is in
// them.
func TestWhatCanNotBeReadIsUnusable(t *testing.T) {
	for _, role := range []string{corastone.RoleStep, corastone.RoleReasons, corastone.RoleFailure, corastone.RoleDetails} {
		for _, payload := range []string{``, `x`, `[]`, `"x"`, `{"step":"x","errors":["x"],"processId":"p"}`, `{"step":{},"errors":[],"processId":1}`} {
			if role == corastone.RoleReasons && payload[:min(len(payload), 2)] == `{"` {
				continue // reasons have no step
			}
			out, err := corastone.Platform().Normalize(handlers.Delivery{
				ID: "d", Source: "s", Platform: "corastone", Channel: schemas.ChannelPoll, Role: role, Received: received, Payload: []byte(payload),
			})
			if _, ok := err.(*handlers.UnusableError); !ok { //nolint:errorlint // it must be one, and not wrap one
				t.Errorf("%s %s becomes %+v, %v", role, payload, out, err)
			}
		}
	}
}
