package ingress

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusalSaysHowManyWereNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := newRefusals(slog.New(slog.NewTextHandler(&out, nil)))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/one", nil)
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(n int) string {
			out.Reset()
			for range n {
				r.log(req, nil, answerTo(errPath), "id")
			}
			return out.String()
		}
		if got := refuse(50); strings.Count(got, "\n") != 1 || !strings.Contains(got, "suppressed=0") {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(quiet - time.Second)
		if got := refuse(1); got != "" {
			t.Errorf("within the minute: %s", got)
		}
		time.Sleep(time.Second)
		if got := refuse(2); strings.Count(got, "\n") != 1 || !strings.Contains(got, "suppressed=50") {
			t.Errorf("after it: %s", got)
		}
		time.Sleep(quiet)
		if got := refuse(1); !strings.Contains(got, "suppressed=1") {
			t.Errorf("after the next: %s", got)
		}
	})
}
