package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// demoFlows are the scenarios that are played, in this order.
var demoFlows = []string{
	"initial-investment-with-settlement", "remediation", "recall-accepted", "revert-back-to-active",
	"onboard-a-fund-rejected-accepted-removed", "failed-orchestration",
}

// demoLedger is a stand-in of Corastone: a ledger that is asked, and what
// pushes from it.
type demoLedger struct {
	*corastonetest.Ledger
	courier atomic.Pointer[corastonetest.Courier] // nil until there is somebody to push to
}

func newDemoLedger(seed uint64) *demoLedger {
	d := &demoLedger{}
	d.Ledger = corastonetest.NewLedger(corastonetest.Options{Seed: seed, Tell: func(e corastonetest.Entry) {
		if c := d.courier.Load(); c != nil {
			c.Take(e)
		}
	}})
	return d
}

// push plays one flow after the other, and what a receiver must be able to take
// behind the first.
func (d demo) push(ctx context.Context) error {
	node := corastonetest.NewNode(d.signer, corastonetest.Topic, uint64(time.Now().UnixNano())) //nolint:gosec // after 1970
	pusher := corastonetest.NewPusher("http://"+d.app.ingressAddr.String()+"/hooks/corastone", netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	defer pusher.Close()
	d.polled.ledger.courier.Store(corastonetest.NewCourier(node, pusher, time.Now, corastonetest.Plan{}))
	flows, err := d.flows()
	if err != nil {
		return err
	}
	asking, err := d.asking(node)
	if err != nil {
		return err
	}
	odd, err := oddities(node)
	if err != nil {
		return err
	}
	if d.tell(ctx, pusher, []corastonetest.Step{asking}) != nil {
		return nil // only ctx ends it
	}
	for {
		for i, flow := range flows {
			if err := d.play(ctx, flow); err != nil || ctx.Err() != nil {
				return err
			}
			if i == 0 && d.tell(ctx, pusher, odd) != nil {
				return nil
			}
		}
		fmt.Fprintf(d.p.stderr, "\nThat were the flows of Corastone's guide. They begin anew in %s.\n\n", demoRest)
		if !pauseFor(ctx, demoRest) {
			return nil
		}
	}
}

// flows returns the scenarios that are played.
func (d demo) flows() ([]corastonetest.Scenario, error) {
	all, err := corastonetest.Scenarios()
	if err != nil {
		return nil, err
	}
	flows := make([]corastonetest.Scenario, len(demoFlows))
	for i, name := range demoFlows {
		at := slices.IndexFunc(all, func(s corastonetest.Scenario) bool { return s.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no scenario %s", name)
		}
		flows[i] = all[at]
	}
	return flows, nil
}

// play plays a flow, and pushes what each of its actions has the node notify.
func (d demo) play(ctx context.Context, flow corastonetest.Scenario) error {
	fmt.Fprintf(d.p.stderr, "\n== %s. %s\n", flow.Flow, flow.Says)
	courier := d.polled.ledger.courier.Load()
	_, err := corastonetest.Play(ctx, d.polled.ledger.Ledger, flow, func(ctx context.Context, line corastonetest.Line) error {
		before := courier.Counts()
		if err := courier.Flush(ctx); err != nil {
			return err
		}
		n := courier.Counts().Delivered - before.Delivered
		if n == 0 {
			return nil
		}
		fmt.Fprintf(d.p.stderr, "--> %s: pushed %s\n", line, plural(n, "notification"))
		if !pauseFor(ctx, demoPause) {
			return ctx.Err()
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func plural(n int, of string) string {
	if n == 1 {
		return "a " + of
	}
	return strconv.Itoa(n) + " " + of + "s"
}

// asking is how a subscription begins: SNS asks whether it is wanted.
func (d demo) asking(node *corastonetest.Node) (corastonetest.Step, error) {
	e, err := d.signer.Sign(node.Confirmation(corastonetest.TypeSubscriptionConfirmation))
	return corastonetest.Step{
		Name: "SNS asks whether its pushes are wanted", Push: e.Push(), Status: http.StatusOK,
		Becomes: "platform.push_confirmation_requested; the receiver says yes: platform.push_confirmed",
	}, err
}

// oddities are what a receiver must be able to take: a forgery, and what can't
// be used.
func oddities(node *corastonetest.Node) ([]corastonetest.Step, error) {
	life, err := node.Life()
	return slices.DeleteFunc(life, func(s corastonetest.Step) bool {
		return s.Status == http.StatusOK && !strings.Contains(s.Becomes, "quarantine")
	}), err
}

// tell pushes steps, and says what each becomes. Its only error is ctx's.
func (d demo) tell(ctx context.Context, pusher *corastonetest.Pusher, steps []corastonetest.Step) error {
	return corastonetest.Tell(ctx, pusher, steps, demoPause, func(s corastonetest.Step, a corastonetest.Answer, err error) {
		fmt.Fprintf(d.p.stderr, "--> %s: %s, so it becomes %s\n", s.Name, answered(a, err), s.Becomes)
	})
}

func answered(a corastonetest.Answer, err error) string {
	if err != nil {
		return "not delivered"
	}
	return "answered " + strconv.Itoa(a.Status)
}
