package ingress_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/journal"
)

// stuckJournal is one whose disk hangs: it hears of no context until it is let
// go on.
type stuckJournal struct {
	*fakeJournal
	stuck chan struct{}
	panic bool
}

func (j stuckJournal) Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (journal.Receipt, error) {
	<-j.stuck
	if j.panic {
		panic("the body says 4929-1234")
	}
	return j.fakeJournal.Append(context.WithoutCancel(ctx), d, transportID, content)
}

// dial connects a friend.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.callers <- caller{theirs, &net.TCPAddr{IP: net.ParseIP(friend), Port: 1}}
	return ours
}

// send sends a push over a connection of its own and returns the answer to
// come.
func (p *pipes) send(t *testing.T, body string) <-chan heard {
	client := p.dial()
	answer := make(chan heard, 1)
	go func() {
		defer client.Close()
		req, err := http.NewRequest(http.MethodPost, "http://x/hooks/one", strings.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		if err := req.Write(client); err != nil {
			t.Error(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(client), req)
		if err != nil {
			t.Error(err)
			close(answer)
			return
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		if resp.Close { // which takes the header away
			resp.Header.Set("Connection", "close")
		}
		answer <- heard{resp.StatusCode, resp.Header, string(text)}
	}()
	return answer
}

// A push whose write hangs is told to come again before its sender, which
// gives us 15 s, gives up; when it does, it is known. Until the write is done
// the push holds its slot.
func TestPushStuckInTheJournalIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			j := stuckJournal{&fakeJournal{}, make(chan struct{}), panics}
			p := &pipes{callers: make(chan net.Conn)}
			g := openOn(t, p, func(c *ingress.Config) { c.Journal, c.MaxInFlight = j, 1 })
			start := time.Now()
			answer := p.send(t, "ok a1 text")
			h := <-answer
			if took := time.Since(start); took != 9*time.Second {
				t.Errorf("answered after %v", took)
			}
			wantError(t, h, http.StatusServiceUnavailable, "unavailable")
			if h.header.Get("Retry-After") == "" || h.header.Get("Connection") != "close" {
				t.Errorf("told with %v", h.header)
			}
			if got := g.count(t, "one", "unavailable"); got != 1 {
				t.Errorf("counted %v times", got)
			}
			if !strings.Contains(g.logs.String(), "journal_stuck") {
				t.Error("nothing is logged")
			}
			start = time.Now()
			h = <-p.send(t, "ok a2 text")
			wantError(t, h, http.StatusServiceUnavailable, "unavailable")
			if took := time.Since(start); took > time.Second {
				t.Errorf("who finds no slot waited %v", took)
			}

			close(j.stuck)
			synctest.Wait()
			if panics {
				return
			}
			kept := j.kept()
			if len(kept) != 1 || string(kept[0].Payload) != "ok a1 text" {
				t.Errorf("kept %d", len(kept))
			}
			if got := g.count(t, "one", "accepted"); got != 0 {
				t.Errorf("what was answered 503 counts as accepted %v times", got)
			}
		})
	}
}

// A write that is done in time leaves nothing behind that answers later.
func TestPushKeptInTimeIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := stuckJournal{&fakeJournal{}, make(chan struct{}), false}
		p := &pipes{callers: make(chan net.Conn)}
		g := openOn(t, p, func(c *ingress.Config) { c.Journal = j })
		client := p.dial()
		defer client.Close()
		in := bufio.NewReader(client)
		send := func() {
			if _, err := io.WriteString(client, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nok a1 text"); err != nil {
				t.Error(err)
			}
		}
		send()
		time.Sleep(8999 * time.Millisecond)
		close(j.stuck)
		for range 2 {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || err != nil {
				t.Errorf("heard %d %s, %v", resp.StatusCode, text, err)
			}
			time.Sleep(20 * time.Second)
			send()
		}
		if got := g.count(t, "one", "unavailable"); got != 0 {
			t.Errorf("%v were refused", got)
		}
	})
}
