package corastonetest

import (
	"strings"

	"github.com/seed75441868/postern/handlers/corastone"
)

// method returns what the method of an action's transactions is called. The
// guide names none but createInvestment: the others are made up from what it
// calls the actions.
func method(action string) string {
	if action == "Create Asset" {
		return "createInvestment"
	}
	name := strings.ReplaceAll(action, " ", "")
	return strings.ToLower(name[:1]) + name[1:]
}

// AddSecurity makes an offering that isn't open yet, and returns its id. We
// see nothing of it before we are assigned to it: its transactions until then
// are granted to us with the assignment.
func (l *Ledger) AddSecurity(s Security) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.id()[:8] + "1I00"
	if s.Name == "" {
		s.Name = "Stand-in Fund " + id[:4]
	}
	if s.Type == "" {
		s.Type = "lpUnits"
	}
	if s.Currency == "" {
		s.Currency = "EUR"
	}
	l.securities = append(l.securities, &security{Security: s, id: id, status: "preSync", created: l.now()})
	return id
}

// Fund makes an offering that is open, and that we accepted the assignment to.
func (l *Ledger) Fund(s Security) (securityID string, err error) {
	id := l.AddSecurity(s)
	for _, do := range []func(string, ...How) (Receipt, error){l.Open, l.Assign, l.AcceptAssignment} {
		if _, err := do(id); err != nil {
			return "", err
		}
	}
	return id, nil
}

// Open launches an offering.
func (l *Ledger) Open(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Launch")
}

// Pause pauses an offering.
func (l *Ledger) Pause(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Pause")
}

// Resume ends a pause.
func (l *Ledger) Resume(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Unpause")
}

// Complete completes an offering.
func (l *Ledger) Complete(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Complete")
}

// ApproveRevert approves that a completed offering becomes active again.
func (l *Ledger) ApproveRevert(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Approve Revert Completed To Active")
}

// RevertToActive makes an offering active again.
func (l *Ledger) RevertToActive(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, func(s *security) error {
		if s.Contingent {
			return refused("IS0031", "Completed contingent offerings can't be reverted back to active.")
		}
		return nil
	}, "Revert Completed To Active")
}

// Close closes a completed offering.
func (l *Ledger) Close(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Close")
}

// Cancel restricts an offering and cancels it, with its subscriptions.
func (l *Ledger) Cancel(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Cancel Offering", "Finish Cancel")
}

// Refund refunds the subscriptions to an offering that was canceled.
func (l *Ledger) Refund(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Refund", "Finish Refund")
}

// Bust restricts an offering and busts it, with its subscriptions.
func (l *Ledger) Bust(securityID string, how ...How) (Receipt, error) {
	return l.administer(securityID, how, nil, "Bust", "Finish Bust")
}

// SetRestricted restricts an offering, or recovers it. No transaction tells it.
func (l *Ledger) SetRestricted(securityID string, restricted bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.security(securityID)
	if s == nil {
		return unknownSecurity(securityID)
	}
	s.restricted = restricted
	return nil
}

func unknownSecurity(id string) error {
	return refused("IS0009", "The security id '"+id+"' is invalid")
}

// finishes are the transitions of offerings that take the subscriptions with
// them, and by which action of theirs.
func finishes(action string) string {
	switch action {
	case "Finish Cancel":
		return "Cancel Offering"
	case "Finish Refund":
		return "Refund"
	case "Finish Bust":
		return "Bust"
	}
	return ""
}

// administer does something to an offering, in a transaction for each action.
func (l *Ledger) administer(securityID string, how []How, also func(*security) error, actions ...string) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		s := l.security(securityID)
		if s == nil {
			return Receipt{}, unknownSecurity(securityID)
		}
		m := mannerOf(how)
		if !s.seen {
			m.hidden, m.awaits = true, s
		}
		table := corastone.SecurityTransitions()
		var acts []act
		for i, action := range actions {
			t := transition(table, action, s.Kind)
			check := func() error {
				if err := s.check(t); err != nil {
					return err
				}
				if also != nil {
					return also(s)
				}
				return nil
			}
			if i == 0 {
				if err := check(); err != nil {
					return Receipt{}, err
				}
			}
			details := map[string][]string{"securityIds": {s.id}}
			held := l.holds(s, finishes(action))
			if len(held) > 0 {
				details["assetIds"] = idsOf(held)
			}
			acts = append(acts, act{method: method(action), org: Issuer, details: details, commit: func(by *transaction) error {
				if err := check(); err != nil {
					return err
				}
				s.restricted = s.restricted || t.Restricted
				l.moveSecurity(s, t, by)
				for _, a := range held {
					if u := transition(corastone.AssetTransitions(), finishes(action), s.Kind); a.check(u) == nil {
						l.move(a, u, by, nil)
					}
				}
				return nil
			}})
		}
		return l.run(m, acts...)
	})
}

// holds returns the subscriptions to an offering that an action of theirs can
// be done to.
func (l *Ledger) holds(s *security, action string) (held []*asset) {
	if action == "" {
		return nil
	}
	t := transition(corastone.AssetTransitions(), action, s.Kind)
	for _, a := range l.assets {
		if a.security == s && a.check(corastone.Transition{From: t.From, Restricted: true}) == nil {
			held = append(held, a)
		}
	}
	return held
}

func idsOf(assets []*asset) []string {
	ids := make([]string, len(assets))
	for i, a := range assets {
		ids[i] = a.id
	}
	return ids
}

// Assign puts us on an offering's exclusivity list, and lets us see what
// happened to the offering before.
func (l *Ledger) Assign(securityID string, how ...How) (Receipt, error) {
	return l.list(securityID, OurOrg, Issuer, "Add", how)
}

// AssignOther puts another organisation on an offering's exclusivity list.
// Its transaction is not for us to see.
func (l *Ledger) AssignOther(securityID, org string, how ...How) (Receipt, error) {
	return l.list(securityID, org, Issuer, "Add", append(how, Hidden()))
}

// AcceptAssignment is us accepting an offering that we were assigned to.
func (l *Ledger) AcceptAssignment(securityID string, how ...How) (Receipt, error) {
	return l.list(securityID, OurOrg, OurOrg, "Accept Fund Assignment", how)
}

// RejectAssignment is us rejecting an offering that we were assigned to.
func (l *Ledger) RejectAssignment(securityID string, how ...How) (Receipt, error) {
	return l.list(securityID, OurOrg, OurOrg, "Reject Fund Assignment", how)
}

// RemoveAssignment takes us off an offering's exclusivity list.
func (l *Ledger) RemoveAssignment(securityID string, how ...How) (Receipt, error) {
	return l.list(securityID, OurOrg, Issuer, "Remove", how)
}

// list changes an exclusivity list.
func (l *Ledger) list(securityID, org, by, action string, how []How) (Receipt, error) {
	return l.do(func() (Receipt, error) {
		s := l.security(securityID)
		switch {
		case s == nil:
			return Receipt{}, unknownSecurity(securityID)
		case l.orgs[org] == "":
			return Receipt{}, refused("OG0002", "Organization '"+org+"' is in an invalid status for the current action.")
		case s.restricted:
			return Receipt{}, s.isRestricted()
		}
		t := transition(corastone.AssignmentTransitions(), action, "")
		check := func() error {
			status := ""
			if a := l.assignment(s.id, org); a != nil {
				status = a.status
			}
			for _, from := range t.From {
				if from == status {
					return nil
				}
			}
			return refused(t.Refused, "You neither have a pending exclusive assignment request nor accepted/rejected an exclusive assignment for security '"+s.id+"'")
		}
		if err := check(); err != nil {
			return Receipt{}, err
		}
		return l.run(mannerOf(how), act{
			method: method(action), org: by, details: map[string][]string{"securityIds": {s.id}},
			commit: func(tx *transaction) error {
				if err := check(); err != nil {
					return err
				}
				a := l.assignment(s.id, org)
				if a == nil {
					a = &assignment{security: s, org: org}
					l.assignments = append(l.assignments, a)
				}
				a.status, a.at = t.To, l.now()
				if org == OurOrg && !s.seen {
					s.seen = true
					l.reveal(s, tx)
				}
				return nil
			},
		})
	})
}

// reveal entitles us to see what happened to an offering before we could.
func (l *Ledger) reveal(s *security, by *transaction) {
	for _, t := range l.transactions {
		if t.awaits == s {
			t.awaits, t.hidden, t.grantedBy = nil, false, by.process.ProcessID
			l.granted = append(l.granted, grant{t.process.ProcessID, l.now()})
		}
	}
}
