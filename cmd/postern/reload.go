package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

// Who reloads when it is nobody with a token.
const (
	actorSignal = "SIGHUP"
	actorFiles  = "files"
)

const (
	tellWait       = 3 * time.Second // for the bus to hear of a reload
	loggedProblems = 20
)

// rereading is how a configuration is read again, and what may ask for it.
type rereading struct {
	load    func() (*Config, error)
	level   *slog.LevelVar   // of the log, which log.level sets; nil: it stays
	hangups <-chan os.Signal // each asks for a reload; may be nil
}

// reloader reads the configuration again while the receiver runs.
type reloader struct {
	app  *app
	from rereading

	every, settle time.Duration // see lookEvery and settleFor

	mu   sync.Mutex // one reload at a time
	seen seen       // by the last one, whatever became of it

	successful, succeeded prometheus.Gauge
}

func newReloader(a *app, from rereading) *reloader {
	r := &reloader{
		app: a, from: from, seen: a.cfg.seen, every: lookEvery, settle: settleFor,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "postern", Name: "config_last_reload_successful",
			Help: "Whether the configuration was good when it was read last: 1, or 0 if an older one is still in force.",
		}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "postern", Name: "config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was read.",
		}),
	}
	a.registry.MustRegister(r.successful, r.succeeded)
	r.succeed()
	return r
}

func (r *reloader) succeed() {
	r.successful.Set(1)
	r.succeeded.SetToCurrentTime()
}

// reload reads the configuration again and applies what can be applied while
// it runs, all of it or, if something is wrong, nothing. It is an [ops.Reload],
// and safe to call at any time.
func (r *reloader) reload(ctx context.Context, actor string) (ops.Reloaded, error) {
	done, err := r.reloadOnce(actor)
	if errors.Is(err, ops.ErrEnding) {
		return done, err
	}
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWait)
	defer cancel()
	if err := r.app.act(telling, actor, schemas.OperatorReloaded, ""); err != nil {
		r.app.log.Warn("a reload is not told on the bus", "actor", actor, "error", err)
	}
	return done, err
}

func (r *reloader) reloadOnce(actor string) (ops.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.app.ingress.Draining() {
		return ops.Reloaded{}, ops.ErrEnding
	}
	next, err := r.read()
	if err == nil {
		err = r.app.apply(next)
	}
	if err != nil {
		r.successful.Set(0)
		bad := problemsOf(err)
		r.app.log.Error("the configuration is not reloaded, the old one stays", "actor", actor, "count", len(bad.Problems))
		for _, p := range bad.Problems[:min(len(bad.Problems), loggedProblems)] {
			r.app.log.Error("configuration", "position", positionOf(p).String(), "problem", p.Message)
		}
		return ops.Reloaded{}, bad
	}
	done := r.take(next)
	r.succeed()
	r.log(actor, done)
	return done, nil
}

// read loads the configuration, unless it came from where nothing more comes.
func (r *reloader) read() (*Config, error) {
	if pipes := r.app.now.Load().seen.pipes(); len(pipes) > 0 {
		e := &configError{}
		for _, path := range pipes {
			e.problems = append(e.problems, Problem{Position{File: path}, "can be read only once: restart the receiver instead"})
		}
		return nil, e
	}
	next, err := r.from.load()
	if s := seenBy(next, err); s != nil {
		r.seen = s
	}
	return next, err
}

// apply has the parts of the receiver do as next says, or fails, and then they
// do as before.
func (a *app) apply(next *Config) error {
	old := a.now.Load()
	at := func(path string, err error) error {
		p := Problem{next.origins.at(path, Position{File: "configuration"}), about(path, err.Error())}
		return &configError{problems: []Problem{p}}
	}
	if path, who := halfApplied(a.cfg, old, next); path != "" {
		return at(path, fmt.Errorf("needs a restart, and %s changes with it: restart the receiver, or undo one of them", who))
	}
	ingressShows, err := a.nextCertificate(a.ingressCertificate, next.Ingress.TLS)
	if err != nil {
		return at("ingress.tls", err)
	}
	opsShows, err := a.nextCertificate(a.opsCertificate, next.Ops.TLS)
	if err != nil {
		return at("ops.tls", err)
	}
	local, err := a.localToken()
	if err != nil {
		return at("data_dir", err)
	}
	if err := a.ops.UpdateTokens(opsTokens(next), local); err != nil {
		return at("ops.tokens", err)
	}
	next.outside.use(a.keys)
	keepUnchanged(old, next)
	if err := a.ingress.Update(sourcesOf(next)); err != nil {
		return errors.Join(at("sources", err), a.ops.UpdateTokens(opsTokens(old), local))
	}
	// Nothing fails from here on.
	if ingressShows != nil {
		a.ingressCertificate.Replace(ingressShows)
	}
	if opsShows != nil {
		a.opsCertificate.Replace(opsShows)
	}
	return nil
}

// nextCertificate loads what a listener will show; nil if it stays as it is
// until a restart because it shows nothing, or will show nothing.
func (a *app) nextCertificate(shown *ingress.Certificate, next *TLS) (*ingress.Certificate, error) {
	if shown == nil || next == nil {
		return nil, nil
	}
	return ingress.LoadCertificate(string(next.Cert), string(next.Key), a.log)
}

// take makes next, which was applied, the configuration in force.
func (r *reloader) take(next *Config) ops.Reloaded {
	waiting := awaiting(r.app.cfg, next)
	done := ops.Reloaded{Applied: changes(r.app.now.Load(), next, waiting), Restart: waiting}
	for _, w := range next.Warnings {
		done.Warnings = append(done.Warnings, opsProblem(w))
	}
	if r.from.level != nil {
		r.from.level.Set(next.Log.slogLevel())
	}
	r.app.now.Store(next)
	r.app.expect()
	if k := r.app.asking.Load(); k != nil {
		k.update(r.app.openedSources())
	}
	return done
}

func (r *reloader) log(actor string, done ops.Reloaded) {
	r.app.log.Info("configuration reloaded", "actor", actor, "count", len(done.Applied))
	for _, c := range done.Applied {
		r.app.log.Info("a setting is applied", "setting", c.Setting, "outcome", c.How)
	}
	for _, setting := range done.Restart {
		r.app.log.Warn("a setting needs a restart", "setting", setting)
	}
	for _, w := range done.Warnings {
		r.app.log.Warn("configuration", "position", positionOf(w).String(), "problem", w.Message)
	}
}

// problemsOf returns why a configuration was not applied.
func problemsOf(err error) *ops.ReloadError {
	bad := &ops.ReloadError{}
	var config *configError
	if errors.As(err, &config) {
		for _, p := range config.problems {
			bad.Problems = append(bad.Problems, opsProblem(p))
		}
		return bad
	}
	bad.Problems = []ops.Problem{{File: "configuration", Message: firstLine(err)}}
	return bad
}

func opsProblem(p Problem) ops.Problem {
	return ops.Problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Message}
}

func positionOf(p ops.Problem) Position {
	return Position{File: p.File, Line: p.Line, Column: p.Column}
}

// localToken returns the token that always works. If its file is gone there is
// a new one.
func (a *app) localToken() (string, error) {
	return ops.LocalToken(filepath.Join(string(a.cfg.DataDir), opsTokenFile))
}

// opsTokens returns who may use the API.
func opsTokens(c *Config) []ops.Token {
	tokens := make([]ops.Token, 0, len(c.Ops.Tokens))
	for _, t := range c.Ops.Tokens {
		tokens = append(tokens, ops.Token{Name: t.Name, Role: ops.Role(t.Role), Token: t.Token.Value()})
	}
	return tokens
}

// sourcesOf returns the sources, which are open.
func sourcesOf(c *Config) []handlers.Source {
	sources := make([]handlers.Source, 0, len(c.Sources))
	for _, s := range c.Sources {
		sources = append(sources, s.Opened)
	}
	return sources
}
