package corastonetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func node(t *testing.T, seed uint64) *corastonetest.Node {
	t.Helper()
	s, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return corastonetest.NewNode(s, corastonetest.Topic, seed)
}

// receiver is what a receiver is to SNS: it checks with the platform's own code
// and answers by the contract.
type receiver struct {
	webhook handlers.Webhook

	mu   sync.Mutex
	seen map[string]bool
	told []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	source, err := corastone.Platform().Open("corastone", pushed(t), handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	return &receiver{webhook: source.Push.Webhook, seen: map[string]bool{}}
}

// pushed are the settings of a source that the shared signer may push to.
func pushed(t *testing.T) *corastone.Settings {
	t.Helper()
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	s, _ := corastone.Platform().Settings().(*corastone.Settings)
	s.Push.Allow = []handlers.Prefix{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}
	s.Push.Topics = []string{corastonetest.Topic}
	s.Push.Signature = corastone.SignaturePinned
	s.Push.Certificates = []handlers.File{{Path: "sns.pem", Contents: []handlers.Contents{{Path: "sns.pem", Data: signer.Certificate()}}}}
	return s
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a, err := rc.webhook.Authenticate(handlers.Request{Header: r.Header, Body: body, Received: time.Now()})
	rc.mu.Lock()
	defer rc.mu.Unlock()
	var refused *handlers.RefusedError
	switch {
	case errors.As(err, &refused):
		rc.told = append(rc.told, "nothing: its "+string(refused.Reason)+" doesn't fit")
		w.WriteHeader(http.StatusForbidden)
		return
	case err != nil || a.Stale:
		rc.told = append(rc.told, fmt.Sprint("unexpected: ", err, a.Stale))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case rc.seen[a.TransportID]:
		rc.told = append(rc.told, "nothing new")
		return
	}
	rc.seen[a.TransportID] = true
	out, err := corastone.Platform().Normalize(handlers.Delivery{
		ID: "d", Source: "corastone", Platform: corastone.Name, Channel: schemas.ChannelPush,
		Role: a.Role, Received: time.Now(), Sent: a.Sent, Payload: body,
	})
	var unusable *handlers.UnusableError
	if errors.As(err, &unusable) {
		rc.told = append(rc.told, "a quarantine record: "+string(unusable.Reason))
		return
	}
	for _, e := range out.Events {
		rc.told = append(rc.told, string(e.Type))
	}
	for _, d := range out.Drift {
		rc.told = append(rc.told, "drift at "+d.Path)
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func pusher(t *testing.T, url string) *corastonetest.Pusher {
	t.Helper()
	p := corastonetest.NewPusher(url, netip.Addr{})
	p.Pause = time.Millisecond
	t.Cleanup(p.Close)
	return p
}

func TestLifeGoesAsItsStepsSay(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		rc := newReceiver(t)
		p := pusher(t, serve(t, rc))
		n := node(t, 1)
		n.Version = version
		steps, err := n.Life()
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		answered := 0
		err = corastonetest.Tell(t.Context(), p, steps, time.Millisecond, func(s corastonetest.Step, a corastonetest.Answer, err error) {
			if err != nil || a.Status != s.Status || a.Tries != 1 {
				t.Errorf("%s: answered %d after %d tries, %v; want %d", s.Name, a.Status, a.Tries, err, s.Status)
			}
			want = append(want, s.Becomes)
			answered++
		})
		if err != nil || answered != len(steps) {
			t.Fatalf("told %d of %d steps, %v", answered, len(steps), err)
		}
		got = rc.told
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("steps became something else (-said +did):\n%s", diff)
		}
	}
}

// TestLifeMarksWhatIsMadeUp: createInvestment is the only method of a
// transaction that Corastone documents.
func TestLifeMarksWhatIsMadeUp(t *testing.T) {
	steps, err := node(t, 1).Life()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		body := string(s.Push.Body)
		if strings.Contains(body, `\"method\":\"`) && !strings.Contains(body, `\"method\":\"createInvestment\"`) && !s.Inferred && s.Becomes != "nothing new" {
			t.Errorf("%s: is not marked as made up", s.Name)
		}
	}
}

func TestEveryEntryAndConfirmationIsUnderstood(t *testing.T) {
	n := node(t, 2)
	process := n.Process("createInvestment", "success", n.AssetID())
	var pushes []corastonetest.Push
	for _, e := range []corastonetest.Entry{
		process, n.Process("createInvestment", "queued"), n.Orchestration("in_progress", process), n.Orchestration("dlq"),
		n.Error("Reject Asset", "PUT", "/external/v1/primary/A/reject"), n.Job("nightly"),
	} {
		p, err := n.Notify(e)
		if err != nil {
			t.Fatal(err)
		}
		pushes = append(pushes, p)
	}
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{corastonetest.TypeSubscriptionConfirmation, corastonetest.TypeUnsubscribeConfirmation} {
		e, err := signer.Sign(n.Confirmation(typ))
		if err != nil {
			t.Fatal(err)
		}
		pushes = append(pushes, e.Push())
	}
	rc := newReceiver(t)
	for _, p := range pushes {
		if got := p.Header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("Content-Type %q is not what SNS sends", got)
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(p.Body)))
		r.Header = p.Header
		rc.ServeHTTP(httptest.NewRecorder(), r)
	}
	want := []string{
		"process.succeeded", "process.queued", "orchestration.in_progress", "orchestration.dead_lettered",
		"error.logged", "job.reported", "platform.push_confirmation_requested", "platform.push_ended",
	}
	if diff := cmp.Diff(want, rc.told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNodesOfTheSameSeedMakeUpTheSame(t *testing.T) {
	a, b, other := node(t, 3), node(t, 3), node(t, 4)
	for range 10 {
		id := a.UUID()
		if id != b.UUID() || id == other.UUID() {
			t.Errorf("ids of seeds 3, 3 and 4 are not two")
		}
	}
}

func TestPusherTriesAgainAsSNSDoes(t *testing.T) {
	for status, want := range map[int]struct {
		tries     int
		delivered bool
	}{
		200: {1, true}, 204: {1, true}, 302: {1, true}, 400: {1, true}, 403: {1, true}, 404: {1, true}, 429: {1, true}, 499: {1, true},
		500: {4, false}, 502: {4, false}, 503: {4, false}, 599: {4, false},
	} {
		calls := 0
		p := pusher(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})))
		a, err := p.Push(t.Context(), corastonetest.Push{})
		if a.Status != status || a.Tries != want.tries || calls != want.tries || (err == nil) != want.delivered {
			t.Errorf("%d: answer %+v after %d calls, %v", status, a, calls, err)
		}
		if !want.delivered && !errors.Is(err, corastonetest.ErrDiscarded) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestPusherSendsTheSameUntilItIsTaken(t *testing.T) {
	push, err := node(t, 5).Notify(corastonetest.Text(`{"error":{"errorId":"a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var bodies, ids []string
	p := pusher(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies, ids = append(bodies, string(body)), append(ids, r.Header.Get("x-amz-sns-message-id"))
		if len(bodies) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"id":"x"}`)
	})))
	a, err := p.Push(t.Context(), push)
	if err != nil || a.Tries != 3 || string(a.Body) != `{"id":"x"}` {
		t.Fatalf("%+v, %v", a, err)
	}
	for i := range bodies {
		if bodies[i] != string(push.Body) || ids[i] != push.Header.Get("X-Amz-Sns-Message-Id") {
			t.Errorf("try %d sent something else", i+1)
		}
	}
}

func TestPusherHasTheDefaultPolicy(t *testing.T) {
	p := corastonetest.NewPusher("http://127.0.0.1/", netip.Addr{})
	if p.Retries != 3 || p.Pause != 20*time.Second || p.Timeout != 15*time.Second {
		t.Errorf("%+v", p)
	}
}

func TestPusherGivesUpWithoutAnAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	p := pusher(t, url)
	p.Timeout, p.Retries = 50*time.Millisecond, 1
	a, err := p.Push(t.Context(), corastonetest.Push{}) // it is accepted by the system, and by nobody else
	if !errors.Is(err, corastonetest.ErrDiscarded) || a.Status != 0 || a.Tries != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	_ = listener.Close()
	if a, err := p.Push(t.Context(), corastonetest.Push{}); !errors.Is(err, corastonetest.ErrDiscarded) || a.Tries != 2 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestPusherCallsFromTheAddressItIsGiven(t *testing.T) {
	from := netip.MustParseAddr("127.0.0.77")
	var got string
	p := corastonetest.NewPusher(serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })), from)
	defer p.Close()
	if _, err := p.Push(t.Context(), corastonetest.Push{}); err != nil {
		t.Skipf("this system can't call from %s: %v", from, err)
	}
	if addr, err := netip.ParseAddrPort(got); err != nil || addr.Addr() != from {
		t.Errorf("called from %s, %v", got, err)
	}
}

func TestPushAndTellEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := pusher(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		cancel()
	})))
	p.Pause = time.Hour
	if _, err := p.Push(ctx, corastonetest.Push{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Push: %v", err)
	}
	steps := make([]corastonetest.Step, 2)
	ctx, cancel = context.WithCancel(t.Context())
	ok := pusher(t, serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	err := corastonetest.Tell(ctx, ok, steps, time.Hour, func(corastonetest.Step, corastonetest.Answer, error) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Tell: %v", err)
	}
	cancel()
}

func TestSignerSignsWithNoOtherVersion(t *testing.T) {
	s, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(corastonetest.Envelope{SignatureVersion: "3"}); err == nil {
		t.Error("signed with version 3")
	}
}
