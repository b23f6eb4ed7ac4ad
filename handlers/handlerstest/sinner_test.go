package handlerstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// TestSinner is what [TestPollerNoticesEverySin] starts.
func TestSinner(t *testing.T) {
	sin := os.Getenv("SIN")
	if sin == "" {
		t.Skip("only started by TestPollerNoticesEverySin")
	}
	p := &sinner{sin: sin}
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform: handlers.Platform{Name: "notes", Settings: p.settings, Open: p.open, Normalize: p.normalize},
		Stage:    p.stage,
		Vocabulary: []schemas.Type{
			schemas.InvestorAdded, schemas.InvestorStatusChanged, schemas.InvestorAbsent, schemas.InvestorReappeared,
		},
	})
}

// person is what the stand-in lists.
type person struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Name   string `json:"name"`
	Login  int    `json:"login"`
}

// sinner is a platform with a list of people.
type sinner struct {
	sin    string
	count  atomic.Int64
	opened int
	shared sinSettings
}

type sinSettings struct {
	URL      string          `yaml:"url"`
	Password handlers.Secret `yaml:"password"`
}

func (p *sinner) settings() any {
	if p.sin == "shares its settings" {
		return &p.shared
	}
	return &sinSettings{}
}

// stage is the stand-in: a list, and tokens that live for ten minutes.
func (p *sinner) stage(testing.TB) handlerstest.Stage {
	var mu sync.Mutex
	birds := canaries.Some(21, 3)
	people := []person{{"a", "new", birds[0].Text, 0}, {"b", "new", birds[1].Text, 0}}
	tokens, serial := map[string]time.Time{}, 0
	do := func(fn func()) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			fn()
		}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/login" {
			serial++
			token := fmt.Sprintf("token-of-the-sinner-%d", serial)
			tokens[token] = time.Now().Add(10 * time.Minute)
			_, _ = fmt.Fprintf(w, `{"token":%q,"seconds":600}`, token)
			return
		}
		if !time.Now().Before(tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for i := range people {
			people[i].Login++
		}
		body, _ := json.Marshal(map[string]any{"people": people})
		_, _ = w.Write(body)
	})
	status := func(status string) func() { return do(func() { people[0].Status = status }) }
	changed := []schemas.Type{schemas.InvestorStatusChanged}
	return handlerstest.Stage{
		Handler:  handler,
		Settings: &sinSettings{URL: "http://127.0.0.1:1", Password: handlers.NewSecret("secret-of-the-sinner")},
		Login:    func(r *http.Request) bool { return r.URL.Path == "/login" },
		Expire:   do(func() { clear(tokens) }),
		Personal: birds,
		First:    []schemas.Type{schemas.InvestorAdded, schemas.InvestorAdded},
		Happenings: []handlerstest.Happening{
			{Name: "changes", Do: status("old"), Tells: changed},
			{
				Name: "comes", Do: do(func() { people = append(people, person{"c", "new", birds[2].Text, 0}) }),
				Tells: []schemas.Type{schemas.InvestorAdded},
			},
			{Name: "goes", Do: do(func() { people = people[:1] }), Tells: []schemas.Type{schemas.InvestorAbsent}, Scans: 2},
		},
		There: handlerstest.Happening{Do: status("old"), Tells: changed},
		Back:  handlerstest.Happening{Do: status("new"), Tells: changed},
		Gone:  handlerstest.Happening{Do: do(func() { people = people[:1] }), Tells: []schemas.Type{schemas.InvestorAbsent}},
	}
}

func (p *sinner) open(name string, settings any, m handlers.Means) (handlers.Source, error) {
	s, ok := settings.(*sinSettings)
	if !ok {
		if p.sin == "takes any settings" {
			return handlers.Source{}, nil
		}
		return handlers.Source{}, errors.New("other settings")
	}
	base, err := handlers.BaseURL("url", s.URL, "https://api.example.com")
	if p.sin == "travels in the clear" && strings.HasPrefix(s.URL, "http://") {
		base, err = s.URL, nil
	}
	if p.sin == "shows its password" && err != nil {
		err = fmt.Errorf("%w: %s", err, s.Password.Value())
	}
	if s.Password.Value() == "" && p.sin != "needs no password" {
		err = errors.Join(err, errors.New("password is missing"))
	}
	if err != nil {
		return handlers.Source{}, err
	}
	p.opened++
	every := time.Minute
	if p.sin == "polls without an interval" {
		every = 0
	}
	login := p.login(base)
	session := handlers.NewSession(m.Client, login)
	scan := func(ctx context.Context, scan handlers.Scan) error {
		if p.sin == "logs in every time" {
			session = handlers.NewSession(m.Client, login)
		}
		return p.scan(ctx, session, base, scan)
	}
	return handlers.Source{Name: name, Platform: "notes", Pollers: []handlers.Poller{
		{Name: "people", Role: "people", Interval: every, Scan: scan},
	}}, nil
}

func (p *sinner) login(base string) handlers.Login {
	return func(ctx context.Context, ask handlers.Ask, _ handlers.Token) (handlers.Token, error) {
		a, err := ask(ctx, handlers.Call{Endpoint: "login", Method: http.MethodPost, URL: base + "/login"})
		if err != nil {
			switch p.sin {
			case "insists":
				err = errors.New("no login") // which is tried again at once
			case "takes errors for refusals":
				err = &handlers.UpstreamError{Endpoint: "login", Code: http.StatusForbidden}
			}
			return handlers.Token{}, err
		}
		var t struct {
			Token   string `json:"token"`
			Seconds int    `json:"seconds"`
		}
		if json.Unmarshal(a.Body, &t) != nil || t.Token == "" {
			return handlers.Token{}, &handlers.UpstreamError{Endpoint: "login", Err: handlers.ErrIncomplete}
		}
		token := handlers.Token{Value: t.Token, Expires: time.Now().Add(time.Duration(t.Seconds) * time.Second)}
		if p.sin == "waits to be refused" {
			token.Expires = time.Time{}
		}
		return token, nil
	}
}

func (p *sinner) scan(ctx context.Context, session *handlers.Session, base string, s handlers.Scan) error {
	a, err := session.Do(ctx, handlers.Call{Endpoint: "people", URL: base + "/people?of=all"})
	var upstream *handlers.UpstreamError
	switch isAnswer := errors.As(err, &upstream); {
	case err == nil:
	case p.sin == "hides errors":
		return nil
	case p.sin == "believes errors":
		return s.Complete("people")
	case p.sin == "takes a page for JSON" && errors.Is(err, handlers.ErrNotJSON):
		return s.Complete("people")
	case p.sin == "forgets Retry-After" && isAnswer:
		return &handlers.UpstreamError{Endpoint: "people", Code: upstream.Code}
	case p.sin == "quotes URLs" && isAnswer:
		upstream.Endpoint = base + "/people?of=all"
		return upstream
	case p.sin == "fails in a way of its own":
		return errors.New("it didn't work")
	default:
		return err
	}
	var list struct {
		People *[]map[string]any `json:"people"`
	}
	if err := json.Unmarshal(a.Body, &list); err != nil {
		switch p.sin {
		case "takes half for all":
			return s.Complete("people")
		case "quotes what it can't read", "quotes answers":
			return &handlers.UpstreamError{Endpoint: "people", Err: fmt.Errorf("%w: %s", handlers.ErrNotJSON, a.Body)}
		}
		return &handlers.UpstreamError{Endpoint: "people", Err: handlers.ErrNotJSON}
	}
	if list.People == nil {
		if p.sin == "takes nothing for all" {
			return s.Complete("people")
		}
		return &handlers.UpstreamError{Endpoint: "people", Err: handlers.ErrIncomplete}
	}
	return p.saw(*list.People, session, s)
}

func (p *sinner) saw(list []map[string]any, session *handlers.Session, s handlers.Scan) error {
	seen := map[string]bool{}
	for i, one := range list {
		id, _ := one["id"].(string)
		status, ok := one["status"].(string)
		if id == "" || !ok || len(id) > 5 {
			if p.sin == "quotes what it can't read" {
				return &handlers.UpstreamError{Endpoint: "people", Err: fmt.Errorf("%w: %v", handlers.ErrIncomplete, one)}
			}
			return &handlers.UpstreamError{Endpoint: "people", Err: handlers.ErrIncomplete}
		}
		if p.sin == "forgets somebody" && i == 1 {
			continue
		}
		seen[id] = true
		state := map[string]any{"status": status}
		switch p.sin {
		case "tracks the time":
			state["login"] = one["login"]
		case "forgets with a restart":
			state["opened"] = p.opened
		case "keeps names", "tells names":
			state["name"] = one["name"]
		case "keeps tokens":
			a, _ := session.Do(context.Background(), handlers.Call{Endpoint: "people", URL: "http://127.0.0.1:1/people"})
			state["token"] = fmt.Sprint("token-of-the-sinner-", a.Epoch)
		case "drifts with values":
			state["remark"] = one["remark"]
		}
		b, err := json.Marshal(state, json.Deterministic(true))
		if err != nil {
			return err
		}
		if err := s.Saw(handlers.Sighting{Key: id, Container: "people", State: b}); err != nil {
			return err
		}
	}
	if p.sin == "believes once" {
		var gone []string
		if err := s.Missing("people", func(key string) error { gone = append(gone, key); return nil }); err != nil {
			return err
		}
		for _, key := range gone {
			if err := s.Saw(handlers.Sighting{Key: key, Container: "people", State: jsontext.Value(`{"status":"absent"}`)}); err != nil {
				return err
			}
		}
	}
	return s.Complete("people")
}

func (p *sinner) normalize(d handlers.Delivery) (handlers.Output, error) {
	unusable := func() (handlers.Output, error) {
		switch p.sin {
		case "panics":
			panic("what is this?")
		case "fails any way":
			return handlers.Output{}, errors.New("what is this?")
		case "quotes what it can't tell":
			return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: string(d.Payload)}
		}
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: "no change of a person"}
	}
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return unusable()
	}
	type state struct {
		Status string `json:"status"`
		Name   string `json:"name"`
		Remark string `json:"remark"`
		Opened int    `json:"opened"`
	}
	var before, after state
	if c.Before().State != nil && json.Unmarshal(c.Before().State, &before) != nil || json.Unmarshal(c.After().State, &after) != nil {
		return unusable()
	}
	kind := schemas.InvestorStatusChanged
	switch {
	case !c.After().Present() || after.Status == "absent":
		kind = schemas.InvestorAbsent
	case c.Before().State == nil:
		kind = schemas.InvestorAdded
	case c.Before().Absent:
		kind = schemas.InvestorReappeared
	case before == after:
		return handlers.Output{}, nil
	}
	data := schemas.Investor{Observed: c.Observed(), Platform: "notes", CandidateID: c.Key, TokenID: "t", NativeStatus: &after.Status}
	if p.sin == "tells names" {
		data.NativeStatus = &after.Name
	}
	e := c.Event(d, kind, c.Key, data)
	out := handlers.Output{}
	if p.sin == "drifts with values" && after.Remark != "" {
		out.Drift = []schemas.Drift{{Platform: "notes", Path: "remark", Value: &after.Remark}}
	}
	p.spoil(d, c, &e, &data)
	out.Events = append(out.Events, e)
	if p.sin == "tells changes twice" && kind == schemas.InvestorStatusChanged {
		out.Events = append(out.Events, c.Event(d, schemas.InvestorReappeared, c.Key, data))
	}
	return out, nil
}

// spoil sins with an event.
func (p *sinner) spoil(d handlers.Delivery, c handlers.Change, e *schemas.Event, data *schemas.Investor) {
	switch p.sin {
	case "is never first":
		data.Bootstrap = false
		e.Data = *data
	case "tells of nobody's revision":
		data.Revision = 7
		e.Data = *data
	case "has ids of its own":
		e.ID = d.Source + ":investor:" + c.Key + ":" + d.ID
	case "has words of its own":
		e.Type = schemas.InvestorKYCChanged
		e.ID = c.Event(d, e.Type, c.Key, nil).ID
	case "counts by its state":
		e.ID = strings.Join([]string{d.Source, "investor", c.Key, c.Generation + ".1", e.Type.Event(), c.Digest}, ":")
	case "translates at random":
		e.Time = schemas.FormatTime(d.Received.Add(time.Duration(p.count.Add(1)) * time.Second))
	case "changes what it translates":
		d.Payload[0] = ' '
	}
}
