package tokeny_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/tokeny"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

// inMemory is a client's way to a handler without a network, for tests in a
// bubble of time.
type inMemory struct {
	handler http.Handler
	refused int // answers with 401
	signIns int
}

func (m *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	m.handler.ServeHTTP(recorder, r)
	if recorder.Code == http.StatusUnauthorized {
		m.refused++
	}
	if strings.HasSuffix(r.URL.Path, "/signin") {
		m.signIns++
	}
	return recorder.Result(), nil
}

// scanFor scans every five minutes.
func scanFor(t *testing.T, m *inMemory, d time.Duration) {
	t.Helper()
	w := handlerstest.NewWatch(t, tokeny.Platform(), settings("https://api.tokeny.com", token), &http.Client{Transport: m})
	const step = 5 * time.Minute
	for range int(d / step) {
		if w.Round(); w.Err() != nil {
			t.Fatal(w.Err())
		}
		w.Advance(step)
		time.Sleep(step)
	}
}

// TestTokensAreReplacedBeforeTheyEnd: no request is ever refused, and nobody
// signs in more often than a token's life demands.
func TestTokensAreReplacedBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := tokenytest.New(tokenytest.Options{Email: email, Password: password}, token)
		p.Add(token, anna())
		m := &inMemory{handler: p}
		scanFor(t, m, 5*time.Hour)
		if m.refused != 0 || m.signIns != 5 {
			t.Errorf("refused %d times, signed in %d times; want 0 and 5", m.refused, m.signIns)
		}
	})
}

// TestTokensThatDontSayWhenTheyEndAreReplacedInTime: what can't be read or
// can't be is no reason to sign in again and again.
func TestTokensThatDontSayWhenTheyEndAreReplacedInTime(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for name, c := range map[string]struct {
		token func(time.Time) string
		want  int // sign-ins in two hours
	}{
		"opaque":          {func(time.Time) string { return "0123456789abcdef" }, 3},
		"no base64":       {func(time.Time) string { return "a.%%%.c" }, 3},
		"no JSON":         {func(time.Time) string { return jwt(`exp`) }, 3},
		"no exp":          {func(time.Time) string { return jwt(`{"sub":"x"}`) }, 3},
		"exp is a text":   {func(time.Time) string { return jwt(`{"exp":"soon"}`) }, 3},
		"exp is negative": {func(time.Time) string { return jwt(`{"exp":-1}`) }, 3},
		"exp is huge":     {func(time.Time) string { return jwt(`{"exp":1e300}`) }, 3},
		"in milliseconds": {func(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, at.Add(time.Hour).UnixMilli())) }, 3},
		"over":            {func(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, at.Add(-time.Hour).Unix())) }, 3},
		"ends now":        {func(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, at.Unix())) }, 3},
		"20 minutes":      {func(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, at.Add(20*time.Minute).Unix())) }, 6},
		"with a fraction": {func(at time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d.5}`, at.Add(20*time.Minute).Unix())) }, 6},
		"padded": {func(at time.Time) string {
			claims := fmt.Sprintf(`{"exp": %d}`, at.Add(20*time.Minute).Unix())
			return "e30." + base64.URLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &inMemory{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					if strings.HasSuffix(r.URL.Path, "/signin") {
						_, _ = fmt.Fprintf(w, `{"token":%q}`, c.token(time.Now()))
						return
					}
					_, _ = w.Write([]byte(`{"items":[]}`))
				})}
				scanFor(t, m, 2*time.Hour)
				if m.signIns != c.want {
					t.Errorf("signed in %d times, want %d", m.signIns, c.want)
				}
			})
		})
	}
}

// TestWhatIsAskedIsAsDocumented.
func TestWhatIsAskedIsAsDocumented(t *testing.T) {
	w := newWorld(t)
	var asked []string
	w.open(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		auth, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		asked = append(asked, strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Content-Type"), auth}, " "))
		w.platform.ServeHTTP(rw, r)
	}))
	id := w.platform.Add(token, anna())
	w.tells(t, "added")
	w.platform.Remove(token, id)
	w.tells(t, "")
	want := []string{
		"POST /servicing/api/auth/signin application/json ",
		"GET /servicing/api/tokens/" + token + "/candidates application/json Bearer",
		"GET /servicing/api/tokens/" + token + "/candidates application/json Bearer",
		"GET /servicing/api/tokens/" + token + "/holders application/json Bearer",
	}
	if got := strings.Join(asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
