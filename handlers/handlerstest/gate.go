package handlerstest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

// kind is what goes wrong with an answer.
type kind string

// What goes wrong.
const (
	refused kind = "401"            // once
	limited kind = "429"            // with Retry-After
	broken  kind = "500"            // an error of the platform's
	silent  kind = "hang"           // no answer until the caller gives up
	cut     kind = "truncated JSON" // half of the answer
	halfway kind = "broken off"     // a body that is shorter than announced
	page    kind = "HTML"           // a page for people, with status 200
	reset   kind = "reset"          // the connection ends without an answer
	bare    kind = "no members"     // an object without anything in it
)

// kinds lists what can go wrong. That somebody may not read something, or that
// it isn't there, is no fault but an answer, which platforms understand in
// their own ways.
var kinds = []kind{refused, limited, broken, silent, cut, halfway, page, reset, bare}

// which says what requests something is about.
type which int

const (
	one    which = iota // the nth since the gate was told, and its repeats
	reads               // all but logins
	logins              // logins
)

// trouble is what goes wrong, and with which requests.
type trouble struct {
	kind  kind
	which which
	nth   int

	target string // of one: what it asked
	done   bool   // it happened
}

// gate is what a platform's stand-in is asked through: it notes what is asked,
// and lets go wrong what a test wants.
type gate struct {
	stage Stage

	mu      sync.Mutex // guards what follows
	asked   int        // since the last trouble
	logins  int
	refusal int             // answers of 401 that nobody ordered
	secrets map[string]bool // that were sent
	trouble *trouble
	spoil   func(body []byte) []byte
}

// order lets something go wrong from now on. Nil: nothing.
func (g *gate) order(t *trouble) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked, g.trouble = 0, t
}

// happened reports whether what was ordered last went wrong.
func (g *gate) happened() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.trouble != nil && g.trouble.done
}

// spoilAnswers has all answers but those to logins changed. Nil: none.
func (g *gate) spoilAnswers(spoil func([]byte) []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spoil = spoil
}

// counts returns how many logins there were, and how often a token was refused.
func (g *gate) counts() (logins, refusals int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logins, g.refusal
}

// betrayed reports whether a token or a secret of the settings is in text.
func (g *gate) betrayed(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.secrets {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// ServeHTTP implements [http.Handler].
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	login := g.stage.Login != nil && g.stage.Login(r)
	k, spoil := g.enter(r, login, string(body))
	switch {
	case k.instead(w, r):
		return
	case login && k == "":
		g.stage.Handler.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	g.stage.Handler.ServeHTTP(rec, r)
	answer := rec.Body.Bytes()
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	switch {
	case rec.Code == http.StatusUnauthorized && !login:
		g.mu.Lock()
		g.refusal++
		g.mu.Unlock()
	case rec.Code >= 300:
	case k == cut:
		answer = answer[:len(answer)/2]
	case k == bare:
		answer = []byte(`{}`)
	case k == halfway:
		w.Header().Set("Content-Length", "9999999")
	case spoil != nil:
		answer = spoil(answer)
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(answer)
}

// enter notes a request and returns what goes wrong with it.
func (g *gate) enter(r *http.Request, login bool, body string) (kind, func([]byte) []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if login {
		g.logins++
	}
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && token != "" {
		g.secrets[token] = true
	}
	n := g.asked
	g.asked++
	t := g.trouble
	if t == nil {
		return "", g.spoil
	}
	target := r.Method + " " + r.URL.String() + " " + body
	switch t.which {
	case reads:
		if login {
			return "", g.spoil
		}
	case logins:
		if !login {
			return "", g.spoil
		}
	default:
		if n == t.nth {
			t.target = target
		}
		if target != t.target || t.done && t.kind == refused {
			return "", g.spoil
		}
	}
	if t.kind == bare && g.stage.Void != nil && g.stage.Void(r) {
		return "", g.spoil
	}
	t.done = true
	return t.kind, g.spoil
}

// instead makes what leaves nothing to answer, and reports whether it did.
func (k kind) instead(w http.ResponseWriter, r *http.Request) bool {
	refuse := func(code int) {
		body, err := json.Marshal(map[string]any{
			"code": code, "message": planted[0].Text, "path": r.URL.RequestURI(), "errors": []string{planted[1].Text},
		})
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write(body)
	}
	switch k {
	case refused:
		refuse(http.StatusUnauthorized)
	case limited:
		w.Header().Set("Retry-After", "90")
		refuse(http.StatusTooManyRequests)
	case broken:
		refuse(http.StatusInternalServerError)
	case page:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>"+planted[2].Text+"</title>"+planted[3].Text)
	case silent:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case reset:
		panic(http.ErrAbortHandler)
	default:
		return false
	}
	return true
}
