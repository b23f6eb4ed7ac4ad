package corastonetest

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Plan says what a courier does to the notifications that it is given: shares
// of all, from 0 to 1. Each is decided on its own, in the order in which they
// are given.
type Plan struct {
	Seed uint64
	// Drop never arrives.
	Drop float64
	// Duplicate arrives again, with the same MessageId.
	Duplicate float64
	// Reorder arrives later by up to ReorderBy, behind what came after it.
	Reorder   float64
	ReorderBy time.Duration // 0: a second
	// Delay arrives later by DelayBy.
	Delay   float64
	DelayBy time.Duration // 0: a minute
	// Forge is joined by a message that says something else than what was
	// signed. The genuine one arrives too.
	Forge float64
	// Unsigned leaves signatures out, for receivers that don't check any: they
	// take longer to make than all the rest. Nothing is forged then.
	Unsigned bool
	// Header is added to each push.
	Header http.Header
	// Parallel is how many are under way at once. 0: 1.
	Parallel int
}

// Counts are of notifications.
type Counts struct {
	Taken, Dropped, Duplicated, Reordered, Delayed, Forged int
	// Delivered were answered as SNS wants it, forged ones not counted;
	// Refused are forged ones that were answered 403; Discarded are those that
	// SNS would give up.
	Delivered, Refused, Discarded int
}

// Courier is between a ledger and a receiver: SNS on a bad day. It signs what
// it is given with a node's key when it pushes it. It is safe for concurrent
// use.
type Courier struct {
	node   *Node
	pusher *Pusher
	now    func() time.Time
	plan   Plan

	mu     sync.Mutex
	rand   *rand.Rand
	taken  uint64
	queue  []notification // by when they are due
	counts Counts
	more   chan struct{} // something was taken
}

type notification struct {
	due    time.Time
	number uint64
	entry  Entry
	again  *Push // it is a repeat of this, filled in by the first
	forged bool
}

// NewCourier returns a courier that pushes as a pusher does what a node says.
// now is the clock of the ledger. Give a ledger [Courier.Take] as what it
// tells.
func NewCourier(n *Node, p *Pusher, now func() time.Time, plan Plan) *Courier {
	if plan.ReorderBy == 0 {
		plan.ReorderBy = time.Second
	}
	if plan.DelayBy == 0 {
		plan.DelayBy = time.Minute
	}
	plan.Parallel = max(plan.Parallel, 1)
	return &Courier{
		node: n, pusher: p, now: now, plan: plan,
		rand: rand.New(rand.NewPCG(plan.Seed, 2)), more: make(chan struct{}, 1),
	}
}

// Take takes a notification and decides what becomes of it. Nothing is pushed
// before [Courier.Run] or [Courier.Flush].
func (c *Courier) Take(e Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The same number of draws each, so that no share changes another's.
	drop, duplicate, reorder, delay, forge, by := c.draw(c.plan.Drop), c.draw(c.plan.Duplicate), c.draw(c.plan.Reorder), c.draw(c.plan.Delay), c.draw(c.plan.Forge), c.rand.Float64()
	c.counts.Taken++
	due := c.now()
	if forge && !c.plan.Unsigned {
		c.counts.Forged++
		c.put(notification{due: due, entry: e, forged: true})
	}
	if drop {
		c.counts.Dropped++
		return
	}
	if reorder {
		c.counts.Reordered++
		due = due.Add(time.Duration((1 + by) / 2 * float64(c.plan.ReorderBy)))
	}
	if delay {
		c.counts.Delayed++
		due = due.Add(c.plan.DelayBy)
	}
	push := &Push{}
	c.put(notification{due: due, entry: e, again: push})
	if duplicate {
		c.counts.Duplicated++
		c.put(notification{due: due, again: push})
	}
}

func (c *Courier) draw(share float64) bool { return c.rand.Float64() < share }

func (c *Courier) put(n notification) {
	c.taken++
	n.number = c.taken
	after := func(a, b notification) int {
		if order := a.due.Compare(b.due); order != 0 {
			return order
		}
		return cmp.Compare(a.number, b.number)
	}
	i, _ := slices.BinarySearchFunc(c.queue, n, after)
	c.queue = slices.Insert(c.queue, i, n)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Counts returns what happened until now.
func (c *Courier) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Flush pushes everything that was taken, due or not, and returns when it was
// answered. It ends early with ctx.
func (c *Courier) Flush(ctx context.Context) error {
	for {
		some := c.due(true)
		if len(some) == 0 {
			return nil
		}
		if err := c.deliver(ctx, some); err != nil {
			return err
		}
	}
}

// Run pushes what was taken when it is due, until ctx ends.
func (c *Courier) Run(ctx context.Context) error {
	for {
		if err := c.deliver(ctx, c.due(false)); err != nil {
			return err
		}
		timer := time.NewTimer(c.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-c.more:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pause returns how long nothing is due.
func (c *Courier) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return time.Hour
	}
	return max(c.queue[0].due.Sub(c.now()), time.Millisecond)
}

// due takes from the queue what is due, or all of it.
func (c *Courier) due(all bool) []notification {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.queue)
	if !all {
		now := c.now()
		n = 0
		for n < len(c.queue) && !c.queue[n].due.After(now) {
			n++
		}
	}
	some := slices.Clone(c.queue[:n])
	c.queue = c.queue[n:]
	return some
}

// deliver pushes notifications in order, as many at once as planned. A
// repeat is pushed by whoever pushes what it repeats, right after it.
func (c *Courier) deliver(ctx context.Context, some []notification) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, c.plan.Parallel)
	var previous chan struct{}
	for i, n := range some {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			c.mu.Lock()
			c.queue = append(some[i:], c.queue...)
			c.mu.Unlock()
			return ctx.Err()
		}
		before, done := previous, make(chan struct{})
		previous = done
		wg.Go(func() {
			defer func() { <-slots }()
			defer close(done)
			if n.entry == nil && before != nil {
				<-before
			}
			c.push(ctx, n)
		})
	}
	wg.Wait()
	return ctx.Err()
}

func (c *Courier) push(ctx context.Context, n notification) {
	push, err := c.signed(n)
	if err != nil {
		panic("a notification can't be signed: " + err.Error()) // a slip of this package
	}
	answer, err := c.pusher.Push(ctx, push)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.counts.Discarded++
	case n.forged && answer.Status == 403:
		c.counts.Refused++
	case !n.forged:
		c.counts.Delivered++
	}
}

// signed returns the request of a notification.
func (c *Courier) signed(n notification) (Push, error) {
	if n.entry == nil {
		return *n.again, nil
	}
	envelope := c.node.Notification(n.entry)
	envelope.Timestamp = format(c.now())
	if !c.plan.Unsigned {
		signed, err := c.node.signer.Sign(envelope)
		if err != nil {
			return Push{}, err
		}
		envelope = signed
	}
	if n.forged {
		envelope.Message = falsified(envelope.Message)
	}
	push := envelope.Push()
	maps.Copy(push.Header, c.plan.Header)
	if n.again != nil {
		*n.again = push
	}
	return push, nil
}

// falsified returns a message that says something else: another outcome, or
// where there is none another id.
func falsified(message string) string {
	for _, change := range [][2]string{{`"success"`, `"failed"`}, {`"failed"`, `"success"`}, {`Id":"`, `Id":"0`}} {
		if strings.Contains(message, change[0]) {
			return strings.ReplaceAll(message, change[0], change[1])
		}
	}
	return message + " "
}
