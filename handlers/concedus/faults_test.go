package concedus_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// TestListsThatAreShortForOnceLoseAndInventNothing: that one is empty, or that
// it moved up by one, a single scan can't know.
func TestListsThatAreShortForOnceLoseAndInventNothing(t *testing.T) {
	for _, kind := range []concedustest.Kind{concedustest.Vanish, concedustest.PageShift} {
		for _, endpoint := range []string{concedustest.EndpointAgentList, concedustest.EndpointIssuerList} {
			t.Run(fmt.Sprintf("%s of %s", kind, endpoint), func(t *testing.T) {
				within(t, settings(t), func(w *world) {
					w.release("A-1", "A-2", "A-3")
					w.server.Enter(owner, w.contract("A-9"))
					told := w.round()
					w.server.Change("A-1", func(c *concedustest.Contract) { c.Share = "77" })
					w.server.Change("A-9", func(c *concedustest.Contract) { c.Share = "78" })
					w.server.Inject(concedustest.Fault{Endpoint: endpoint, Kind: kind})
					for range 4 {
						told = append(told, w.round()...)
						if err := w.watch.Err(); err != nil {
							t.Errorf("failed: %v", err)
						}
					}
					if n := w.server.Pending(); n != 0 {
						t.Errorf("%d faults to come", n)
					}
					w.toldAnyhow(told,
						"released agent A-1", "released agent A-2", "released agent A-3", "submitted_to_issuer issuer-77 A-9",
						"changed agent A-1", "changed issuer-77 A-9")
				})
			})
		}
	}
}

// toldAnyhow compares without the order.
func (w *world) toldAnyhow(events []schemas.Event, want ...string) {
	w.Helper()
	slices.SortFunc(events, func(a, b schemas.Event) int { return strings.Compare(w.line(a), w.line(b)) })
	slices.Sort(want)
	w.told(events, want...)
}

// TestTokensAreRenewedOncePerExpiry, whatever asks, and with the password only
// at first.
func TestTokensAreRenewedOncePerExpiry(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		for range 40 {
			w.round()
			if err := w.watch.Err(); err != nil {
				t.Fatal(err)
			}
		}
		signIns, refreshes := w.server.Count(concedustest.EndpointToken), w.server.Count(concedustest.EndpointRefresh)
		// Two accounts, 40 minutes, tokens that are used for three and a half.
		if signIns != 2 || refreshes < 2*8 || refreshes > 2*12 {
			t.Errorf("%d logins and %d refreshes", signIns, refreshes)
		}
		w.server.Forget()
		w.server.Expire()
		w.quiet(1)
		if got := w.server.Count(concedustest.EndpointToken) - signIns; got != 2 {
			t.Errorf("without a refresh token it logged in %d times", got)
		}
	})
}

// TestListsThatMoveWhileTheyAreRead are read such that nothing is lost or told
// twice, whatever happens between two pages.
func TestListsThatMoveWhileTheyAreRead(t *testing.T) {
	for name, move := range map[string]func(w *world){
		"one comes": func(w *world) { w.release("NEW") },
		"one goes":  func(w *world) { w.server.Leave("A-04") },
		"one moves up": func(w *world) {
			w.server.Change("A-00", func(c *concedustest.Contract) { c.Share = "5" })
		},
		"the token ends": func(w *world) { w.server.Expire() },
	} {
		for _, perPage := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sums per page %t", name, perPage), func(t *testing.T) {
				within(t, settings(t), func(w *world) {
					w.server.PageSize, w.server.SumsPerPage = 2, perPage
					var all []string
					for i := range 6 {
						key := fmt.Sprintf("A-%02d", i)
						w.release(key)
						all = append(all, "released agent "+key)
						time.Sleep(time.Millisecond)
					}
					var told []schemas.Event
					w.server.Turned(func(endpoint string, page int) {
						if endpoint == concedustest.EndpointAgentList && page == 2 {
							w.server.Turned(nil)
							move(w)
						}
					})
					for range 4 {
						told = append(told, w.round("agent-list")...)
						if err := w.watch.Err(); err != nil {
							t.Error(err)
						}
					}
					kinds := map[string]int{}
					for _, e := range told {
						kinds[w.line(e)]++
					}
					for _, line := range all {
						gone := name == "one goes" && line == "released agent A-04"
						if kinds[line] != 1 && !gone {
							t.Errorf("%s: told %d times", line, kinds[line])
						}
					}
					for line, n := range kinds {
						if n != 1 || strings.HasPrefix(line, "reappeared") || strings.HasPrefix(line, "absent") && line != "absent agent A-04" {
							t.Errorf("%s: told %d times", line, n)
						}
					}
				})
			})
		}
	}
}

func (w *world) line(e schemas.Event) string {
	i := len(e.Key) - 22
	return fmt.Sprintf("%s %s %s", e.Type.Event(), strings.TrimSuffix(e.Key[:i], "-"), w.names[e.Key[i:]])
}

// TestPagesMakeTheList, however many there are and however its summaries are
// meant.
func TestPagesMakeTheList(t *testing.T) {
	for size, counts := range map[int][]int{0: {0, 1, 99, 100, 101}, 4: {3, 4, 5, 12}} {
		for _, n := range counts {
			for _, perPage := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					server := concedustest.New(time.Now)
					server.Agent("agent-user", "agent-password-9f")
					server.PageSize, server.SumsPerPage = size, perPage
					want := map[string]bool{}
					for i := range n {
						key := fmt.Sprintf("A-%03d", i)
						server.Release(concedustest.Contract{Key: key, Share: "7.5"})
						want["agent-"+handlerstest.Pseudonym(key)] = true
					}
					list := &sight{}
					if err := poller(t, "agent-list", handlerstest.Serve(t, server).Transport).Scan(t.Context(), list); err != nil {
						t.Errorf("%d contracts, %d a page: %v", n, size, err)
					}
					got := map[string]bool{}
					for _, seen := range list.seen {
						got[seen.Key] = true
					}
					if diff := cmp.Diff(want, got); diff != "" || len(list.seen) != n {
						t.Errorf("%d contracts, %d a page: saw %d (-want +got):\n%s", n, size, len(list.seen), diff)
					}
				})
			}
		}
	}
}

// TestSumsMustBeRight: a list whose sums are never those of its contracts is
// not believed.
func TestSumsMustBeRight(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1", "A-2")
		w.server.Inject(concedustest.Fault{Endpoint: concedustest.EndpointAgentList, Kind: concedustest.PageShift, Page: 1, Times: 3})
		w.told(w.round("agent-list"))
		if err := w.watch.Err(); !errors.Is(err, handlers.ErrMoved) {
			t.Errorf("failed with %v", err)
		}
		w.told(w.round("agent-list"), "released agent A-1", "released agent A-2")
	})
}

// TestPagesThatRepeatAreNoList: a list that moves down by a page whenever one
// is read has no end.
func TestPagesThatRepeatAreNoList(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.server.PageSize, w.server.SumsPerPage = 2, true
		w.release("A-1", "A-2", "A-3", "A-4")
		n := 0
		w.server.Turned(func(string, int) {
			time.Sleep(time.Millisecond)
			for range 2 {
				n++
				w.release(fmt.Sprintf("B-%d", n))
			}
		})
		w.told(w.round("agent-list"))
		if err := w.watch.Err(); !errors.Is(err, handlers.ErrMoved) {
			t.Errorf("failed with %v", err)
		}
	})
}

// TestPagesOfTwoTokensAreNoList: another token may be another view.
func TestPagesOfTwoTokensAreNoList(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.server.PageSize = 2
		w.release("A-1", "A-2", "A-3", "A-4", "A-5")
		firsts, expired := 0, false
		w.server.Turned(func(_ string, page int) {
			if page == 1 {
				firsts++
			}
			if page == 2 && !expired {
				expired = true
				w.server.Expire()
			}
		})
		if events := w.round("agent-list"); len(events) != 5 || w.watch.Err() != nil || firsts != 2 {
			t.Errorf("%d events, %v, and the first page was read %d times", len(events), w.watch.Err(), firsts)
		}
	})
}

// TestSlowAnswersAreWaitedFor: a scan ends in time, and the next one goes on.
func TestSlowAnswersAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := concedustest.New(time.Now)
		server.Agent("agent-user", "agent-password-9f")
		for i := range 50 {
			server.Release(concedustest.Contract{Key: fmt.Sprintf("A-%d", i)})
		}
		s := settings(t)
		s.Issuers = nil
		s.Poll.Interval = handlers.Duration(2 * time.Minute)
		watch := handlerstest.NewWatch(t, concedus.Platform(), s, handlerstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/status/") {
				time.Sleep(9 * time.Second)
			}
			server.ServeHTTP(w, r)
		})))
		watch.Round("agent-list")
		for range 2 {
			watch.Advance(2 * time.Minute)
			if watch.Round("compliance"); watch.Err() != nil {
				t.Error(watch.Err())
			}
		}
		for i := range 50 {
			if n := len(server.Asked(fmt.Sprintf("A-%d", i))); n != 1 {
				t.Errorf("A-%d was asked for %d times", i, n)
			}
		}
	})
}
