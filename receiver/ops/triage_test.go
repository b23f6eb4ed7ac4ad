package ops_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

// desk is a triage that notes what it is asked.
type desk struct {
	asked []string
	fails error
	list  ops.Records
}

func (d *desk) note(format string, args ...any) {
	d.asked = append(d.asked, fmt.Sprintf(format, args...))
}

func (d *desk) Rejected(_ context.Context, q ops.RecordQuery) (ops.Records, error) {
	d.note("rejected %+v", q)
	return d.list, d.fails
}

func (d *desk) OpenRejected(_ context.Context, actor string, seq uint64) (ops.Record, error) {
	d.note("open rejected %s %d", actor, seq)
	return ops.Record{Sequence: seq, Opened: &ops.Opened{Body: "said"}}, d.fails
}

func (d *desk) Quarantine(_ context.Context, q ops.RecordQuery) (ops.Records, error) {
	d.note("quarantine %+v", q)
	return d.list, d.fails
}

func (d *desk) Quarantined(_ context.Context, id string) ([]ops.Record, error) {
	d.note("find %s", id)
	return []ops.Record{{Sequence: 7, DeliveryID: id}}, d.fails
}

func (d *desk) OpenQuarantined(_ context.Context, actor string, seq uint64) (ops.Record, error) {
	d.note("open quarantined %s %d", actor, seq)
	return ops.Record{Sequence: seq, Opened: &ops.Opened{Body: "said"}}, d.fails
}

func (d *desk) Release(_ context.Context, actor string, records []ops.Record) ([]ops.Handled, error) {
	d.note("release %s %d", actor, len(records))
	return []ops.Handled{{Sequence: 7, Outcome: "told"}}, d.fails
}

func (d *desk) Discard(_ context.Context, actor string, records []ops.Record) ([]ops.Handled, error) {
	d.note("discard %s %d", actor, len(records))
	return []ops.Handled{{Sequence: 7, Outcome: ops.OutcomeDiscarded}}, d.fails
}

func (d *desk) take() []string {
	asked := d.asked
	d.asked = nil
	return asked
}

func withDesk(t *testing.T) (*panel, *desk) {
	t.Helper()
	d := &desk{}
	return open(t, func(c *ops.Config) {
		c.Triage = d
		c.Tokens = []ops.Token{
			{Name: "vera", Role: ops.RoleViewer, Token: "view"},
			{Name: "otto", Role: ops.RoleOperator, Token: "operate"},
			{Name: "ursula", Role: ops.RoleUnseal, Token: "unseal"},
		}
		c.Status = func(context.Context) ops.Status { return ops.Status{Wrong: []string{"it is late"}} }
		c.Streams = func(context.Context) ([]ops.StreamStatus, error) { return []ops.StreamStatus{{Name: "S"}}, d.fails }
	}), d
}

func TestTriageAsksForTheRoleThatEachRequestNeeds(t *testing.T) {
	p, d := withDesk(t)
	for request, want := range map[string]struct {
		statuses [5]int // of nobody, a viewer, an operator, who may unseal, the local token
		asked    []string
	}{
		"GET /api/v1/rejected":                       {[5]int{200, 200, 200, 200, 200}, []string{"rejected {Source: Reason: After:0 Until:0 Limit:100}"}},
		"GET /api/v1/rejected/5":                     {[5]int{401, 403, 403, 200, 200}, []string{"open rejected NAME 5"}},
		"GET /api/v1/quarantine":                     {[5]int{200, 200, 200, 200, 200}, []string{"quarantine {Source: Reason: After:0 Until:0 Limit:100}"}},
		"GET /api/v1/quarantine/abc":                 {[5]int{200, 200, 200, 200, 200}, []string{"find abc"}},
		"GET /api/v1/quarantine/abc?unseal=true":     {[5]int{401, 403, 403, 200, 200}, []string{"find abc", "open quarantined NAME 7"}},
		"POST /api/v1/quarantine/abc/release":        {[5]int{401, 403, 200, 403, 200}, []string{"find abc", "release NAME 1"}},
		"POST /api/v1/quarantine/abc/discard":        {[5]int{401, 403, 200, 403, 200}, []string{"find abc", "discard NAME 1"}},
		"POST /api/v1/quarantine/release?all=true":   {[5]int{401, 403, 200, 403, 200}, []string{"quarantine {Source: Reason: After:0 Until:0 Limit:100}", "release NAME 2"}},
		"POST /api/v1/quarantine/discard?reason=odd": {[5]int{401, 403, 200, 403, 200}, []string{"quarantine {Source: Reason:odd After:0 Until:0 Limit:100}", "discard NAME 2"}},
	} {
		d.list = ops.Records{Records: []ops.Record{{Sequence: 3}, {Sequence: 9}}, Last: 12, More: true}
		method, path, _ := strings.Cut(request, " ")
		for i, token := range []string{"", "view", "operate", "unseal", "local-token"} {
			h := p.do(t, method, path, func(r *http.Request) {
				if token != "" {
					bearer(token)(r)
				}
			})
			asked := d.take()
			if h.status != want.statuses[i] {
				t.Errorf("%s by %q: %d, want %d: %s", request, token, h.status, want.statuses[i], h.body)
			}
			if h.status >= 400 {
				wantProblem(t, h, want.statuses[i])
				if len(asked) > 0 {
					t.Errorf("%s by %q was refused, and asked %q", request, token, asked)
				}
				continue
			}
			name := [5]string{"", "vera", "otto", "ursula", "ops.token"}[i]
			got := strings.ReplaceAll(strings.Join(want.asked, "\n"), "NAME", name)
			if diff := cmp.Diff(got, strings.Join(asked, "\n")); diff != "" {
				t.Errorf("%s by %q (-want +got):\n%s", request, token, diff)
			}
			if strings.Contains(h.body, "said") != strings.Contains(strings.Join(asked, ""), "open") {
				t.Errorf("%s by %q answers %s", request, token, h.body)
			}
			if strings.Contains(h.body, "said") && h.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be kept by caches", request)
			}
			if method == http.MethodPost && strings.Contains(path, "=") && !strings.Contains(h.body, `"last":12,"behind":9,"more":true`) {
				t.Errorf("%s: %s", request, h.body)
			}
		}
	}
}

func TestTriageRefusesWhatItCantRead(t *testing.T) {
	p, d := withDesk(t)
	for _, request := range []string{
		"GET /api/v1/rejected?sauce=x", "GET /api/v1/rejected?source=A%20b", "GET /api/v1/rejected?limit=0", "GET /api/v1/rejected?limit=1001",
		"GET /api/v1/rejected?limit=x", "GET /api/v1/rejected?after=-1", "GET /api/v1/rejected?reason=a.b", "GET /api/v1/rejected?source=a&source=b",
		"GET /api/v1/rejected/x", "GET /api/v1/rejected/-1", "GET /api/v1/quarantine/1?unsale=true",
		"POST /api/v1/quarantine/release", "POST /api/v1/quarantine/release?limit=5", "POST /api/v1/quarantine/release?all=true&limit=101",
		"POST /api/v1/quarantine/1/release?all=true",
	} {
		method, path, _ := strings.Cut(request, " ")
		wantProblem(t, p.do(t, method, path, bearer("local-token")), http.StatusBadRequest)
		if asked := d.take(); len(asked) > 0 {
			t.Errorf("%s asked %q", request, asked)
		}
	}
}

func TestTriageErrorsAreStatuses(t *testing.T) {
	p, d := withDesk(t)
	for _, request := range []string{
		"GET /api/v1/rejected", "GET /api/v1/rejected/5", "GET /api/v1/quarantine", "GET /api/v1/quarantine/abc",
		"POST /api/v1/quarantine/abc/release", "POST /api/v1/quarantine/discard?all=true", "GET /api/v1/streams",
	} {
		method, path, _ := strings.Cut(request, " ")
		for want, err := range map[int]error{
			http.StatusNotFound:           fmt.Errorf("x: %w", ops.ErrNotThere),
			http.StatusConflict:           fmt.Errorf("%w: no key", ops.ErrSealed),
			http.StatusServiceUnavailable: errors.New("the body says 4929-1234"),
		} {
			d.fails = err
			h := p.do(t, method, path, bearer("local-token"))
			wantProblem(t, h, want)
			if strings.Contains(h.body, "4929") {
				t.Errorf("%s: %s", request, h.body)
			}
		}
	}
}

func TestNothingToHandleIsAnAnswer(t *testing.T) {
	p, d := withDesk(t)
	d.list.Last = 12
	h := p.do(t, http.MethodPost, "/api/v1/quarantine/release?all=true", bearer("operate"))
	if h.status != http.StatusOK || h.body != `{"handled":[],"last":12,"behind":0,"more":false}`+"\n" {
		t.Errorf("%d %s", h.status, h.body)
	}
	if asked := d.take(); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

func TestBodiesAreShownAsTheyAre(t *testing.T) {
	for _, tc := range []struct {
		body           []byte
		text, encoding string
	}{
		{nil, "", "none"},
		{[]byte{}, "", "text"},
		{[]byte("grün\x1b"), "grün\x1b", "text"},
		{[]byte{0xff, 0}, "/wA=", "base64"},
	} {
		var o ops.Opened
		o.SetBody(tc.body)
		if o.Body != tc.text || o.Encoding != tc.encoding {
			t.Errorf("%q: %+v", tc.body, o)
		}
	}
}

func TestStatusAndStreamsAreForEverybodyOnLoopback(t *testing.T) {
	p, _ := withDesk(t)
	if h := p.get(t, "/api/v1/status"); h.status != http.StatusOK || !strings.Contains(h.body, `"wrong":["it is late"]`) || !strings.Contains(h.body, "v1.2.3") {
		t.Errorf("%d %s", h.status, h.body)
	}
	if h := p.get(t, "/api/v1/streams"); h.status != http.StatusOK || !strings.HasPrefix(h.body, `{"streams":[{"name":"S",`) {
		t.Errorf("%d %s", h.status, h.body)
	}
	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/status", bearer("local-token")), http.StatusMethodNotAllowed)
}

func TestStatusIsAskedForAWhileOnly(t *testing.T) {
	p := open(t, func(c *ops.Config) {
		c.Status = func(ctx context.Context) ops.Status {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > 10*time.Second {
				return ops.Status{Wrong: []string{"no end"}}
			}
			return ops.Status{}
		}
	})
	if h := p.get(t, "/api/v1/status"); strings.Contains(h.body, "no end") {
		t.Error(h.body)
	}
}
