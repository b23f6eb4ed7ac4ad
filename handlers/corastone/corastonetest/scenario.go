package corastonetest

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Step is something that happens on the platform, and the push that tells it.
type Step struct {
	Name    string // what happens, for people
	Push    Push
	Status  int    // what a receiver answers
	Becomes string // what it makes of it, for people
	// Inferred says that Corastone documents no such method name; it was made
	// up from what the API calls the action.
	Inferred bool
}

// Life returns a plausible life of a subscription, one process that fails, and
// what a receiver must be able to take: a repeat, a forgery, and a message
// that can't be used. Every call makes up another subscription. The pushes are
// dated now: tell them soon.
func (n *Node) Life() ([]Step, error) {
	asset := n.AssetID()
	var steps []Step
	var failed error
	add := func(s Step, e Entry) {
		var err error
		if s.Push, err = n.Notify(e); err != nil {
			failed = err
		}
		steps = append(steps, s)
	}
	process := func(name, method string, inferred bool) {
		add(Step{Name: name, Status: http.StatusOK, Becomes: "process.succeeded", Inferred: inferred},
			n.Process(method, "success", asset))
	}

	created := n.Process("createInvestment", "success", asset)
	orchestration := n.Orchestration("success", created)
	created.OrchestrationID = orchestration.OrchestrationID
	add(Step{Name: "a subscription is created", Status: http.StatusOK, Becomes: "process.succeeded"}, created)
	add(Step{Name: "the transactions behind it are done", Status: http.StatusOK, Becomes: "orchestration.succeeded"}, orchestration)
	process("the asset manager accepts it", "batchMarkAccepted", true)
	repeat := steps[len(steps)-1].Push
	process("the money is wired", "batchMarkWired", true)
	steps = append(steps, Step{
		Name: "SNS repeats a push, as it may", Push: repeat, Status: http.StatusOK, Becomes: "nothing new",
	})
	process("it is settled", "batchMarkSettled", true)

	failing := n.Process("recallAsset", "failed", asset)
	add(Step{Name: "a recall comes too late", Status: http.StatusOK, Becomes: "process.failed", Inferred: true}, failing)
	add(Step{Name: "the platform logs why", Status: http.StatusOK, Becomes: "error.logged", Inferred: true},
		n.Error("Recall Asset", http.MethodPut, "/external/v1/primary/asset/"+asset+"/recall"))
	forged, err := n.forged(asset)
	if err != nil {
		return nil, err
	}
	steps = append(steps, Step{
		Name: "somebody changes a message on its way", Push: forged, Status: http.StatusForbidden, Becomes: "nothing: its signature doesn't fit",
	})
	add(Step{Name: "a message breaks off", Status: http.StatusOK, Becomes: "a quarantine record: bad_json"},
		Text(`{"transaction":{"processId":"`+n.UUID()+`","status":"succ`))
	process("the fund issues its units", "runClose", true)
	return steps, failed
}

// forged returns a push whose message says something else than what was signed.
func (n *Node) forged(asset string) (Push, error) {
	e, err := n.signer.Sign(n.Notification(n.Process("createInvestment", "failed", asset)))
	e.Message = strings.Replace(e.Message, `"failed"`, `"success"`, 1)
	return e.Push(), err
}

// Tell pushes the steps one after the other with a pause between them, and
// says after each how it went. A step that was discarded does not stop it; the
// end of ctx does, and is the only error.
func Tell(ctx context.Context, p *Pusher, steps []Step, pause time.Duration, told func(Step, Answer, error)) error {
	for i, step := range steps {
		if i > 0 {
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
		}
		answer, err := p.Push(ctx, step.Push)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		told(step, answer, err)
	}
	return nil
}
