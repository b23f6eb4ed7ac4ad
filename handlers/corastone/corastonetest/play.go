package corastonetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Played are the ids of what a scenario named: of offerings, subscriptions,
// and orchestrations that were held.
type Played map[string]string

// Play plays a scenario on a ledger, an action after the other, and calls
// after after each, where a clock may be moved or an effect awaited. It ends
// with the first action that doesn't go as the scenario says, with ctx, or with
// an error of after.
func Play(ctx context.Context, l *Ledger, s Scenario, after ...func(context.Context, Line) error) (Played, error) {
	p := player{ledger: l, ids: Played{}}
	for _, line := range s.Lines {
		if err := ctx.Err(); err != nil {
			return p.ids, err
		}
		err := p.play(line)
		for _, f := range after {
			if err == nil {
				err = f(ctx, line)
			}
		}
		if err != nil {
			return p.ids, fmt.Errorf("%s:%d: %s: %w", s.Name, line.Number, line, err)
		}
	}
	return p.ids, nil
}

type player struct {
	ledger *Ledger
	ids    Played
}

// play does what a line says, and checks that it goes as it says.
func (p *player) play(line Line) error {
	how, held := outcome(line.Values)
	r, err := p.act(line, how)
	code := line.Values["refused"]
	var refused *RefusedError
	switch {
	case code != "" && errors.As(err, &refused) && refused.Code == code:
		return nil
	case code != "":
		return fmt.Errorf("was to be refused with %s, and was: %v", code, err) //nolint:errorlint // it may be nil
	case err != nil:
		return err
	}
	if held != "" {
		p.ids[held] = r.OrchestrationID
	}
	return nil
}

// outcome returns how an action is to go, and the name to finish it by.
func outcome(values map[string]string) (how []How, held string) {
	if code := values["fails"]; code != "" {
		how = append(how, Fails(code))
	}
	if code := values["all-fail"]; code != "" {
		how = append(how, FailsFirst(code))
	}
	switch values["seen"] {
	case "late":
		how = append(how, Hidden())
	case "unpushed":
		how = append(how, Quiet())
	}
	if values["ends"] == "timed_out" {
		how = append(how, TimesOut())
	}
	if held = values["held"]; held != "" {
		how = append(how, Held())
	}
	return how, held
}

// act does what a line says.
func (p *player) act(line Line, how []How) (Receipt, error) {
	l := p.ledger
	if do := l.actions()[line.Verb]; do != nil {
		id, err := p.id(line.Names[0])
		if err != nil {
			return Receipt{}, err
		}
		return do(id, how...)
	}
	switch line.Verb {
	case "add":
		return p.add(line)
	case "subscribe":
		return p.subscribe(line, how)
	case "finish", "fail":
		id, err := p.id(line.Names[0])
		if err != nil || line.Verb == "finish" {
			return or(err, func() (Receipt, error) { return l.Finish(id) })
		}
		return l.FailOrchestration(id, line.Values["code"])
	case "is":
		return Receipt{}, p.check(line, func(id string) string { return l.AssetStatus(id) + l.SecurityStatus(id) }) // one is empty
	case "listed":
		return Receipt{}, p.check(line, func(id string) string { return l.AssignmentStatus(id, OurOrg) })
	}
	ids := make([]string, len(line.Names))
	for i, name := range line.Names {
		id, err := p.id(name)
		if err != nil {
			return Receipt{}, err
		}
		ids[i] = id
	}
	switch line.Verb {
	case "accept":
		return l.Accept(ids, how...)
	case "wire":
		return l.MarkWired(ids, how...)
	case "settle":
		return l.MarkSettled(ids, how...)
	case "issue":
		return l.RunClose(ids, how...)
	case "modify":
		return l.Modify(ids[0], line.Values["amount"], how...)
	case "request-remediation":
		return l.RequestRemediation(ids[0], line.Reasons, how...)
	case "add-reasons":
		return l.AddReasons(ids[0], line.Reasons, how...)
	}
	return Receipt{}, fmt.Errorf("nobody can %s", line.Verb)
}

func or(err error, do func() (Receipt, error)) (Receipt, error) {
	if err != nil {
		return Receipt{}, err
	}
	return do()
}

// actions are those that take one id.
func (l *Ledger) actions() map[string]func(string, ...How) (Receipt, error) {
	return map[string]func(string, ...How) (Receipt, error){
		"open": l.Open, "pause": l.Pause, "resume": l.Resume, "complete": l.Complete, "approve-revert": l.ApproveRevert,
		"revert": l.RevertToActive, "close": l.Close, "cancel": l.Cancel, "refund": l.Refund, "bust": l.Bust,
		"assign": l.Assign, "accept-assignment": l.AcceptAssignment, "reject-assignment": l.RejectAssignment,
		"remove-assignment": l.RemoveAssignment,
		"reject":            l.Reject, "review": l.Review, "remediate": l.Remediate, "recall": l.Recall,
		"accept-recall": l.AcceptRecall, "reject-recall": l.RejectRecall, "decline": l.Decline,
	}
}

func (p *player) id(name string) (string, error) {
	if id := p.ids[name]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("nothing is called %q", name)
}

func (p *player) add(line Line) (Receipt, error) {
	v := line.Values
	p.ids[line.Names[0]] = p.ledger.AddSecurity(Security{
		Name: v["name"], Type: v["type"], Currency: v["currency"], Kind: v["kind"],
		CorrelationID: v["correlation"], Contingent: v["contingent"] == "yes",
	})
	return Receipt{}, nil
}

func (p *player) subscribe(line Line, how []How) (Receipt, error) {
	fund, err := p.id(line.Names[1])
	if err != nil {
		return Receipt{}, err
	}
	v := line.Values
	sub := Subscription{
		Amount: v["amount"], Units: v["units"], Price: v["price"], FrontEndFee: v["fee"], CorrelationID: v["correlation"],
		Investor: v["investor"], Account: v["account"],
	}
	if n := v["transactions"]; n != "" {
		if sub.Transactions, err = strconv.Atoi(n); err != nil || sub.Transactions < 1 || sub.Transactions > 2 {
			return Receipt{}, fmt.Errorf("a subscription takes 1 or 2 transactions")
		}
	}
	r, err := p.ledger.Subscribe(fund, sub, how...)
	if r.AssetID != "" {
		p.ids[line.Names[0]] = r.AssetID
	}
	return r, err
}

// check checks a status.
func (p *player) check(line Line, status func(id string) string) error {
	id, err := p.id(line.Names[0])
	if err != nil {
		return err
	}
	if got := status(id); got != line.Names[1] {
		return fmt.Errorf("it is %s", got)
	}
	return nil
}
