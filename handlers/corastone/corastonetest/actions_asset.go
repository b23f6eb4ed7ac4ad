package corastonetest

import (
	"cmp"
	"slices"

	"github.com/seed75441868/postern/handlers/corastone"
)

// maxBatch is how many subscriptions an action takes at once (Primary sales).
const maxBatch = 500

// Subscribe is us subscribing to an offering, whose assignment we accepted.
// Until its transactions are done the asset is preSynced; if one fails, it is
// deleted.
func (l *Ledger) Subscribe(securityID string, sub Subscription, how ...How) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		s := l.security(securityID)
		if s == nil {
			return Receipt{}, unknownSecurity(securityID)
		}
		t := transition(corastone.AssetTransitions(), "Create Asset", s.Kind)
		if err := s.offers(t); err != nil {
			return Receipt{}, err
		}
		if a := l.assignment(s.id, OurOrg); a == nil || a.status != "accepted" {
			return Receipt{}, refused("IS0099", "You do not have the role for this action on security '"+s.id+"'. Required roles: 'investor'; current roles: ''")
		}
		a := &asset{Subscription: sub, id: l.id(), security: s, status: "preSynced", created: l.now(), number: len(l.assets)}
		a.Amount = cmp.Or(a.Amount, "100000.00")
		a.Units = cmp.Or(a.Units, "100")
		a.Price = cmp.Or(a.Price, "1000.00")
		a.FrontEndFee = cmp.Or(a.FrontEndFee, "1500.00")
		a.Investor = cmp.Or(a.Investor, "Ida Beispiel")
		a.Account = cmp.Or(a.Account, "Beispiel Family Account")
		l.assets = append(l.assets, a)
		l.assetByID[a.id] = a

		var acts []act
		if sub.Transactions > 1 {
			acts = append(acts, act{
				method: "createInvestor", org: OurOrg,
				details: map[string][]string{"investorIds": {l.id()}, "accountIds": {l.id()}},
				commit:  func(*transaction) error { return nil },
			})
		}
		acts = append(acts, act{
			method: method(t.Action), org: OurOrg,
			details: map[string][]string{"assetIds": {a.id}, "securityIds": {s.id}},
			commit: func(by *transaction) error {
				if err := s.offers(t); err != nil {
					return err
				}
				l.move(a, t, by, nil)
				return nil
			},
			undo: func() { a.status = "deleted" },
		})
		r, err := l.run(mannerOf(how), acts...)
		r.AssetID = a.id
		return r, err
	})
}

// Accept is the issuer accepting subscriptions to one offering.
func (l *Ledger) Accept(assetIDs []string, how ...How) (Receipt, error) {
	return l.change("Mark Accepted", Issuer, assetIDs, how, nil)
}

// Reject is the issuer rejecting a subscription.
func (l *Ledger) Reject(assetID string, how ...How) (Receipt, error) {
	return l.change("Reject", Issuer, []string{assetID}, how, nil)
}

// Review is the issuer reviewing a subscription, whose status stays.
func (l *Ledger) Review(assetID string, how ...How) (Receipt, error) {
	return l.change("Review Asset", Issuer, []string{assetID}, how, func(a *asset, _ *transaction) map[string]any {
		a.review = "pending"
		return map[string]any{"reviewStatus": a.review}
	})
}

// Modify is us changing a subscription's amount.
func (l *Ledger) Modify(assetID, amount string, how ...How) (Receipt, error) {
	return l.change("Modify Asset", OurOrg, []string{assetID}, how, func(a *asset, _ *transaction) map[string]any {
		a.Amount = amount
		return map[string]any{"investmentAmount": number(amount)}
	})
}

// RequestRemediation is the issuer asking for a subscription to be remedied.
// The reasons come with it, in a comment; without any they may come later, by
// [Ledger.AddReasons].
func (l *Ledger) RequestRemediation(assetID string, reasons []Reason, how ...How) (Receipt, error) {
	return l.change("Request Remediation", Issuer, []string{assetID}, how, func(a *asset, _ *transaction) map[string]any {
		a.review = "pending"
		if len(reasons) > 0 {
			l.comment(a, reasons)
		}
		return map[string]any{"reviewStatus": a.review}
	})
}

// AddReasons is the issuer giving reasons for a remediation later, in a
// comment. Its transaction names the comment and the offering: nothing of the
// asset's history changes.
func (l *Ledger) AddReasons(assetID string, reasons []Reason, how ...How) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		a := l.assetByID[assetID]
		if a == nil {
			return Receipt{}, unknownAsset(assetID)
		}
		id := l.commentID()
		return l.run(mannerOf(how), act{
			method: "addComment", org: Issuer,
			details: map[string][]string{"commentIds": {id}, "securityIds": {a.security.id}},
			commit: func(*transaction) error {
				l.comment(a, reasons).id = id
				return nil
			},
		})
	})
}

func (l *Ledger) commentID() string { return "CMNT" + l.id() }

// comment adds a comment with reasons.
func (l *Ledger) comment(a *asset, reasons []Reason) *comment {
	reasons = slices.Clone(reasons)
	for i, r := range reasons {
		r.Documents = slices.Clone(r.Documents)
		for j := range r.Documents {
			if r.Documents[j].FileID == "" {
				r.Documents[j].FileID = l.id()
			}
		}
		reasons[i] = r
	}
	c := &comment{
		id: l.commentID(), assets: []string{a.id}, message: "Please see what is to be remedied.", review: "pending",
		reasons: reasons, at: l.now(), org: Issuer,
	}
	l.comments = append(l.comments, c)
	return c
}

// Remediate is us having remedied a subscription.
func (l *Ledger) Remediate(assetID string, how ...How) (Receipt, error) {
	return l.change("Remediate", OurOrg, []string{assetID}, how, func(a *asset, _ *transaction) map[string]any {
		a.review = "fix_provided"
		for _, c := range l.comments {
			if slices.Contains(c.assets, a.id) {
				c.review = a.review
			}
		}
		return map[string]any{"reviewStatus": a.review}
	})
}

// Recall is us asking for a subscription back.
func (l *Ledger) Recall(assetID string, how ...How) (Receipt, error) {
	return l.change("Recall", OurOrg, []string{assetID}, how, nil)
}

// AcceptRecall is the issuer letting a subscription go.
func (l *Ledger) AcceptRecall(assetID string, how ...How) (Receipt, error) {
	return l.change("Accept Recall", Issuer, []string{assetID}, how, nil)
}

// RejectRecall is the issuer not letting a subscription go: it goes on where it
// was.
func (l *Ledger) RejectRecall(assetID string, how ...How) (Receipt, error) {
	return l.change("Reject Recall", Issuer, []string{assetID}, how, nil)
}

// MarkWired is us saying that the money for subscriptions is on its way.
func (l *Ledger) MarkWired(assetIDs []string, how ...How) (Receipt, error) {
	return l.change("Mark Wired", OurOrg, assetIDs, how, nil)
}

// MarkSettled is the issuer saying that the money has come. To an offering
// that is issued directly it issues the units.
func (l *Ledger) MarkSettled(assetIDs []string, how ...How) (Receipt, error) {
	return l.change("Mark Settled", Issuer, assetIDs, how, func(a *asset, _ *transaction) map[string]any {
		a.settled = l.now()
		if a.security.Kind == corastone.WhenIssuedDirectly {
			a.issued = a.settled
			return map[string]any{"issuedDate": day(a.issued)}
		}
		return map[string]any{"settlementDate": day(a.settled)}
	})
}

// Decline is the issuer giving up on a subscription's money.
func (l *Ledger) Decline(assetID string, how ...How) (Receipt, error) {
	return l.change("Decline", Issuer, []string{assetID}, how, nil)
}

// RunClose is the issuer issuing the units of subscriptions.
func (l *Ledger) RunClose(assetIDs []string, how ...How) (Receipt, error) {
	return l.change("Run Close", Issuer, assetIDs, how, func(a *asset, _ *transaction) map[string]any {
		a.issued = l.now()
		return map[string]any{"issuedDate": day(a.issued)}
	})
}

func unknownAsset(id string) error { return refused("AS0001", "Asset '"+id+"' was not found") }

// change does something to subscriptions to one offering, in one transaction.
func (l *Ledger) change(action, by string, ids []string, how []How, also func(*asset, *transaction) map[string]any) (Receipt, error) {
	ids = slices.Clone(ids)
	return l.do(func() (Receipt, error) {
		if len(ids) == 0 || len(ids) > maxBatch {
			return Receipt{}, refused("GN0002", "The payload you have supplied is invalid.")
		}
		assets := make([]*asset, len(ids))
		for i, id := range ids {
			a := l.assetByID[id]
			if a == nil {
				return Receipt{}, unknownAsset(id)
			}
			assets[i] = a
			if a.security != assets[0].security {
				return Receipt{}, refused("IS0016", "Security '"+assets[0].security.id+"' is not compatible with asset '"+a.id+"'")
			}
		}
		s := assets[0].security
		t := transition(corastone.AssetTransitions(), action, s.Kind)
		check := func() error {
			for _, a := range assets {
				if err := a.check(t); err != nil {
					return err
				}
			}
			return nil
		}
		if err := check(); err != nil {
			return Receipt{}, err
		}
		return l.run(mannerOf(how), act{
			method: method(action), org: by,
			details: map[string][]string{"assetIds": ids, "securityIds": {s.id}},
			commit: func(tx *transaction) error {
				if err := check(); err != nil {
					return err
				}
				for _, a := range assets {
					var update map[string]any
					if also != nil {
						update = also(a, tx)
					}
					l.move(a, t, tx, update)
				}
				return nil
			},
		})
	})
}
