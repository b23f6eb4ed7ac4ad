package corastone_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// TestHostThatFailsIsNotTakenForAForgery, and one that has nothing is.
func TestHostThatFailsIsNotTakenForAForgery(t *testing.T) {
	for status, want := range map[int]string{
		400: "certificate", 403: "certificate", 404: "certificate", 410: "certificate",
		301: "uncheckable", 500: "uncheckable", 502: "uncheckable", 503: "uncheckable", 504: "uncheckable",
	} {
		sns := newSNS(t)
		sns.host.Fail(status)
		_, err := sns.open(t).Authenticate(request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`))))
		t.Run(fmt.Sprint(status), func(t *testing.T) { check(t, err, want) })
	}
	sns := newSNS(t)
	for name, fetch := range map[string]handlers.Fetch{
		"unreachable": func(context.Context, string) ([]byte, error) { return nil, errors.New("connection refused") },
		"too large":   func(context.Context, string) ([]byte, error) { return nil, errors.New("more than 64 KiB") },
		"panics":      func(context.Context, string) ([]byte, error) { panic("no") },
	} {
		webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: fetch, Roots: sns.Roots()})
		_, err := webhook.Authenticate(request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`))))
		t.Run(name, func(t *testing.T) { check(t, err, "uncheckable") })
	}
}

// counting counts what a fetch is asked, and waits for gate first.
type counting struct {
	fetch handlers.Fetch
	gate  chan struct{} // nil: open
	asked atomic.Int64
	most  atomic.Int64 // at once
	now   atomic.Int64
}

func (c *counting) Fetch(ctx context.Context, url string) ([]byte, error) {
	c.asked.Add(1)
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.fetch(ctx, url)
}

// TestRotationUnderLoadLosesNothing: SNS begins to sign with another key in
// the middle of a thousand pushes, of which some still bear the old one.
func TestRotationUnderLoadLosesNothing(t *testing.T) {
	sns := newSNS(t)
	next, err := corastonetest.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	next, err = sns.host.Certify(sns.Authority, next, corastonetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	count := &counting{fetch: sns.host.Fetch}
	webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: count.Fetch, Roots: sns.Roots()})
	node := corastonetest.NewNode(sns.signer, corastonetest.Topic, 1)
	const pushes = 1000
	requests := make([]handlers.Request, pushes)
	for i := range requests {
		by := sns.signer
		if i > pushes/3 && i%7 != 0 {
			by = next
		}
		e := node.Notification(corastonetest.Text(`{"error":{"errorId":"a"}}`))
		e.Timestamp = sent
		requests[i] = request(signWith(t, by, e))
	}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() {
			<-start
			if _, err := webhook.Authenticate(r); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := count.asked.Load(); n != 2 {
		t.Errorf("%d fetches for two certificates", n)
	}
}

func TestCertificateIsFetchedOnceForAllWhoWait(t *testing.T) {
	sns := newSNS(t)
	r := request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`)))
	synctest.Test(t, func(t *testing.T) {
		count := &counting{fetch: sns.host.Fetch, gate: make(chan struct{})}
		webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: count.Fetch, Roots: sns.Roots()})
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := webhook.Authenticate(r); err == nil {
					accepted.Add(1)
				}
			})
		}
		synctest.Wait()
		close(count.gate)
		wg.Wait()
		if accepted.Load() != 100 || count.asked.Load() != 1 {
			t.Errorf("%d of 100 accepted, %d fetches", accepted.Load(), count.asked.Load())
		}
		// And it stays.
		time.Sleep(24 * time.Hour)
		if _, err := webhook.Authenticate(r); err != nil || count.asked.Load() != 1 {
			t.Errorf("a day later: %v, %d fetches", err, count.asked.Load())
		}
	})
}

// TestFailuresAreRememberedForAWhile, so that a host in trouble isn't asked
// for each push, and forgotten before SNS comes again.
func TestFailuresAreRememberedForAWhile(t *testing.T) {
	sns := newSNS(t)
	r := request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`)))
	for name, c := range map[string]struct {
		status int
		want   string
		hold   time.Duration
	}{
		"unreachable": {503, "uncheckable", 5 * time.Second},
		"not there":   {404, "certificate", 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			webhook := sns.open(t)
			before := len(sns.host.Asked())
			asked := func() int { return len(sns.host.Asked()) - before }
			sns.host.Fail(c.status)
			defer sns.host.Fail(0)
			for range 50 {
				_, err := webhook.Authenticate(r)
				check(t, err, c.want)
			}
			time.Sleep(c.hold - time.Millisecond)
			_, err := webhook.Authenticate(r)
			check(t, err, c.want)
			if asked() != 1 {
				t.Errorf("%s: %d fetches", name, asked())
			}
			sns.host.Fail(0)
			time.Sleep(time.Millisecond)
			_, err = webhook.Authenticate(r)
			check(t, err, "")
			if asked() != 2 {
				t.Errorf("%s: %d fetches", name, asked())
			}
		})
	}
}

// TestNobodyWaitsLongerThanThreeSeconds, whatever the host does.
func TestNobodyWaitsLongerThanThreeSeconds(t *testing.T) {
	sns := newSNS(t)
	r := request(sns.sign(t, notification(`{"error":{"errorId":"a"}}`)))
	for name, deaf := range map[string]bool{"ends with its context": false, "ends when it likes": true} {
		synctest.Test(t, func(t *testing.T) {
			fetch := func(ctx context.Context, _ string) ([]byte, error) {
				if deaf {
					time.Sleep(time.Minute)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: fetch, Roots: sns.Roots()})
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Second / 10)
					start := time.Now()
					_, err := webhook.Authenticate(r)
					check(t, err, "uncheckable")
					if waited := time.Since(start); waited > 3*time.Second {
						t.Errorf("%s: waited %v", name, waited)
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute) // until even the deaf one has ended
		})
	}
}

// TestForgerCantMakeUsForget: whoever may push can name other certificates of
// SNS, and URLs that lead nowhere, as many as he likes. What verified pushes
// before stays, few are asked for at once, and the next genuine one is found.
func TestForgerCantMakeUsForget(t *testing.T) {
	sns := newSNS(t)
	e := notification(`{"error":{"errorId":"a"}}`)
	good := request(sns.sign(t, e))
	next := sns.certify(t, corastonetest.Leaf{})
	forged := sns.sign(t, e)
	forged.Signature = forged.Signature[:40] + "AAAA" + forged.Signature[44:]
	var forgeries []handlers.Request
	for i := range 1000 {
		f := forged
		f.SigningCertURL = fmt.Sprintf("%sSimpleNotificationService-%032x.pem", frankfurt, i)
		if i%10 == 0 { // a real one
			f.SigningCertURL = sns.certify(t, corastonetest.Leaf{}).URL()
		}
		forgeries = append(forgeries, request(f))
	}
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, url string) ([]byte, error) {
			time.Sleep(10 * time.Millisecond)
			return sns.host.Fetch(ctx, url)
		}
		count := &counting{fetch: slow}
		webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: count.Fetch, Roots: sns.Roots()})
		if _, err := webhook.Authenticate(good); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, f := range forgeries {
			time.Sleep(3 * time.Millisecond)
			wg.Go(func() {
				if _, err := webhook.Authenticate(f); err == nil {
					t.Error("a forgery was accepted")
				}
			})
		}
		wg.Wait()
		if most := count.most.Load(); most > 4 {
			t.Errorf("%d fetches at once", most)
		}
		before := count.asked.Load()
		if _, err := webhook.Authenticate(good); err != nil {
			t.Error(err)
		}
		if after := count.asked.Load(); after != before {
			t.Error("the certificate was fetched again")
		}
		if _, err := webhook.Authenticate(request(signWith(t, next, e))); err != nil {
			t.Errorf("the next certificate: %v", err)
		}
	})
}

// TestSixteenCertificatesAreKept: those that verified a push last.
func TestSixteenCertificatesAreKept(t *testing.T) {
	sns := newSNS(t)
	e := notification(`{"error":{"errorId":"a"}}`)
	var requests []handlers.Request
	for range 17 {
		requests = append(requests, request(signWith(t, sns.certify(t, corastonetest.Leaf{}), e)))
	}
	synctest.Test(t, func(t *testing.T) {
		count := &counting{fetch: sns.host.Fetch}
		webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: count.Fetch, Roots: sns.Roots()})
		push := func(i int, fetches int64) {
			t.Helper()
			before := count.asked.Load()
			if _, err := webhook.Authenticate(requests[i]); err != nil {
				t.Error(err)
			}
			if got := count.asked.Load() - before; got != fetches {
				t.Errorf("push %d: %d fetches, want %d", i, got, fetches)
			}
		}
		for i := range 16 {
			push(i, 1)
		}
		time.Sleep(time.Hour)
		for i := range 16 {
			push(i, 0)
		}
		push(0, 0)  // used last
		push(16, 1) // and 1 is forgotten
		push(0, 0)
		push(2, 0)
		push(1, 1)
		push(3, 1) // which 1 took the place of
	})
}

// TestTooManyAtOnceCantBeChecked: the room for those who wait has an end.
func TestTooManyAtOnceCantBeChecked(t *testing.T) {
	sns := newSNS(t)
	e := sns.sign(t, notification(`{"error":{"errorId":"a"}}`))
	synctest.Test(t, func(t *testing.T) {
		count := &counting{fetch: sns.host.Fetch, gate: make(chan struct{})}
		webhook := openWith(t, sns.settings(t), handlers.Means{Fetch: count.Fetch, Roots: sns.Roots()})
		var uncheckable atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 1000 {
			e.SigningCertURL = fmt.Sprintf("%sSimpleNotificationService-%032x.pem", frankfurt, i)
			r := request(e)
			wg.Go(func() {
				_, err := webhook.Authenticate(r)
				check(t, err, "uncheckable")
				if time.Since(start) == 0 {
					uncheckable.Add(1)
				}
			})
		}
		wg.Wait()
		if got := uncheckable.Load(); got != 1000-256 {
			t.Errorf("%d were sent away at once", got)
		}
		if got := time.Since(start); got > 3*time.Second {
			t.Errorf("it took %v", got)
		}
		if most := count.most.Load(); most != 4 {
			t.Errorf("%d fetches at once", most)
		}
	})
}
