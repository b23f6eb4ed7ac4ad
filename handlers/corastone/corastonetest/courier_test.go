package corastonetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// sink takes pushes and keeps what it took.
type sink struct {
	mu      sync.Mutex
	bodies  []string
	ids     []string
	headers []string
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(body))
	s.ids = append(s.ids, r.Header.Get("X-Amz-Sns-Message-Id"))
	s.headers = append(s.headers, r.Header.Get("X-Test"))
	w.WriteHeader(http.StatusOK)
}

// carry has a courier carry n errors to a sink, and returns their order there
// by number.
func carry(t *testing.T, plan corastonetest.Plan, n int) (order []string, ids []string, counts corastonetest.Counts) {
	t.Helper()
	var s sink
	clock := newClock()
	c := corastonetest.NewCourier(node(t, 9), pusher(t, serve(t, &s)), clock.now, plan)
	for i := range n {
		c.Take(corastonetest.Error{ErrorID: fmt.Sprintf("E%05d", i)})
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, body := range s.bodies {
		if got := s.headers[i]; got != plan.Header.Get("X-Test") {
			t.Errorf("a push has the header %q", got)
		}
		if signed := !strings.Contains(body, `"Signature" : ""`); signed == plan.Unsigned {
			t.Errorf("is signed: %t", signed)
		}
		_, id, _ := strings.Cut(body, `errorId\":\"`)
		id, _, _ = strings.Cut(id, `\"`)
		order = append(order, id)
	}
	return order, s.ids, c.Counts()
}

func TestCourierOnAGoodDayKeepsTheOrder(t *testing.T) {
	order, ids, counts := carry(t, corastonetest.Plan{}, 20)
	for i, id := range order {
		if id != fmt.Sprintf("E%05d", i) {
			t.Errorf("%d is %s", i, id)
		}
	}
	if len(distinct(ids)) != 20 || counts != (corastonetest.Counts{Taken: 20, Delivered: 20}) {
		t.Errorf("%d ids, %+v", len(distinct(ids)), counts)
	}
}

func distinct(list []string) map[string]int {
	n := map[string]int{}
	for _, s := range list {
		n[s]++
	}
	return n
}

func TestCourierKeepsToItsShares(t *testing.T) {
	const n = 600
	plan := corastonetest.Plan{Seed: 3, Drop: 0.1, Duplicate: 0.2, Reorder: 0.1, Delay: 0.05, Forge: 0.03, Parallel: 8, Header: http.Header{"X-Test": {"yes"}}}
	order, ids, counts := carry(t, plan, n)
	near := func(name string, got int, share float64) {
		t.Helper()
		if deviation := math.Sqrt(n * share * (1 - share)); math.Abs(float64(got)-n*share) > 4*deviation {
			t.Errorf("%s: %d of %d, and the share is %g", name, got, n, share)
		}
	}
	near("dropped", counts.Dropped, 0.1)
	near("duplicated", counts.Duplicated, 0.2*0.9) // of those that weren't dropped
	near("reordered", counts.Reordered, 0.1*0.9)
	near("delayed", counts.Delayed, 0.05*0.9)
	near("forged", counts.Forged, 0.03)
	if counts.Taken != n || counts.Delivered != n-counts.Dropped+counts.Duplicated || len(ids) != counts.Delivered+counts.Forged {
		t.Errorf("%+v, and %d arrived", counts, len(ids))
	}
	twice := 0
	for _, times := range distinct(ids) {
		if times > 1 {
			twice++
		}
	}
	if twice != counts.Duplicated {
		t.Errorf("%d came twice under one id of %d", twice, counts.Duplicated)
	}
	if got := len(distinct(order)); got < n-counts.Dropped {
		t.Errorf("%d different ones arrived", got)
	}
}

func TestCouriersOfTheSameSeedDoTheSame(t *testing.T) {
	plan := corastonetest.Plan{Seed: 5, Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, Forge: 0.2, Unsigned: true}
	a, _, _ := carry(t, plan, 60)
	b, _, _ := carry(t, plan, 60)
	plan.Seed = 6
	other, _, _ := carry(t, plan, 60)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	if cmp.Equal(a, other) {
		t.Error("another seed did the same")
	}
}

// TestForgedIsRefused: a receiver takes what is genuine and nothing else.
func TestForgedIsRefused(t *testing.T) {
	rc := newReceiver(t)
	c := corastonetest.NewCourier(node(t, 10), pusher(t, serve(t, rc)), time.Now, corastonetest.Plan{Forge: 1, Duplicate: 1})
	l, fundID := fund(t, corastonetest.Options{Tell: c.Take, Now: time.Now}, corastonetest.Security{})
	subscribe(t, l, fundID)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts := c.Counts()
	if counts.Forged != 6 || counts.Refused != 6 || counts.Delivered != 12 {
		t.Errorf("%+v", counts)
	}
	if got := distinct(rc.told); got["process.succeeded"] != 3 || got["orchestration.succeeded"] != 3 || got["nothing new"] != 6 || len(got) != 4 {
		t.Errorf("%v", got)
	}
}

func TestCourierRunsUntilItIsStopped(t *testing.T) {
	var s sink
	c := corastonetest.NewCourier(node(t, 11), pusher(t, serve(t, &s)), time.Now, corastonetest.Plan{Delay: 0.5, DelayBy: 30 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for range 20 {
		c.Take(corastonetest.Error{ErrorID: "E"})
	}
	for deadline := time.Now().Add(10 * time.Second); c.Counts().Delivered < 20; {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.Counts())
		}
		<-time.After(time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
