// Package bourse watches the offerings that a made-up bourse lists, as an
// example of a platform that is polled and has little to say:
//
//	GET /offerings
//	Authorization: Bearer <token>
//
//	{"offerings":[{"id":"OF-1","status":"open"}]}
package bourse

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Name is what `platform:` says of a source of this platform.
const Name = "bourse"

// role is what the poller is called, and its part of each record.
const role = "offerings"

// Settings is the configuration of a source.
type Settings struct {
	URL   string          `yaml:"url" validate:"required,url" doc:"Where the bourse is."`
	Token handlers.Secret `yaml:"token" doc:"What lets us read its list."`
	Poll  Poll            `yaml:"poll" doc:"How often its list is read."`
}

// Poll says how often the list is read.
type Poll struct {
	Interval handlers.Duration `yaml:"interval" validate:"gt=0" doc:"Time between two reads."`
}

// Platform returns what the bourse offers to Postern.
func Platform() handlers.Platform {
	return handlers.Platform{
		Name:      Name,
		Settings:  func() any { return &Settings{Poll: Poll{Interval: handlers.Duration(time.Minute)}} },
		Open:      open,
		Normalize: normalize,
	}
}

func open(name string, settings any, means handlers.Means) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, errors.New("the settings are not those of a bourse")
	}
	base, err := handlers.BaseURL("url", s.URL, "https://bourse.example")
	if s.Token.Value() == "" {
		err = errors.Join(err, errors.New("token is empty"))
	}
	if err != nil {
		return handlers.Source{}, err
	}
	b := &bourse{base: base, session: handlers.NewSession(means.Client, s.login)}
	return handlers.Source{Name: name, Platform: Name, Pollers: []handlers.Poller{
		{Name: role, Role: role, Interval: s.Poll.Interval.Std(), Scan: b.scan},
	}}, nil
}

// login: the token is the one that is configured.
func (s *Settings) login(context.Context, handlers.Ask, handlers.Token) (handlers.Token, error) {
	return handlers.Token{Value: s.Token.Value()}, nil
}

type bourse struct {
	base    string
	session *handlers.Session
}

// offering is what the bourse lists, and what is kept of it.
type offering struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// scan implements the Scan of [handlers.Poller]: it reads the list once.
func (b *bourse) scan(ctx context.Context, s handlers.Scan) error {
	answer, err := b.session.Do(ctx, handlers.Call{Endpoint: role, URL: b.base + "/offerings"})
	if err != nil {
		return err
	}
	var list struct {
		Offerings *[]offering `json:"offerings"`
	}
	if json.Unmarshal(answer.Body, &list) != nil || list.Offerings == nil {
		return &handlers.UpstreamError{Endpoint: role, Err: handlers.ErrIncomplete}
	}
	for _, o := range *list.Offerings {
		state, err := json.Marshal(o, json.Deterministic(true))
		if err != nil || o.ID == "" {
			return &handlers.UpstreamError{Endpoint: role, Err: handlers.ErrIncomplete}
		}
		if err := s.Saw(handlers.Sighting{Key: o.ID, Container: role, State: state}); err != nil {
			return err
		}
	}
	return s.Complete(role)
}

// normalize implements the Normalize of [handlers.Platform].
func normalize(d handlers.Delivery) (handlers.Output, error) {
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: "no change of an offering"}
	}
	var before, after offering
	if c.Before().State != nil && json.Unmarshal(c.Before().State, &before) != nil || json.Unmarshal(c.After().State, &after) != nil {
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: "no state of an offering"}
	}
	if after.Status == "" {
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonInvalidEvent, Detail: "status is empty"}
	}
	// What is not listed any more is not known to be closed: nothing is told.
	if !c.After().Present() || before.Status == after.Status {
		return handlers.Output{}, nil
	}
	data := schemas.Security{
		Platform: Name, SecurityID: c.Key, NativeStatus: &after.Status, Observed: c.Observed(),
	}
	if before.Status != "" {
		data.PreviousStatus = &before.Status
	}
	what, known := schemas.OfferingStatusChanged, true
	switch after.Status {
	case "open":
		what = schemas.OfferingOpened
	case "closed":
		what = schemas.OfferingClosed
	default:
		known = false
	}
	e := c.Event(d, what, c.Key, data)
	out := handlers.Output{}
	if e.Unknown = !known; e.Unknown {
		out.Drift = []schemas.Drift{{Platform: Name, Path: "offerings.status", Value: &after.Status}}
	}
	out.Events = append(out.Events, e)
	return out, nil
}
