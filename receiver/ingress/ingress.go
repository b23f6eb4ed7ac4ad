// Package ingress is the gate that platforms push to: it knows who may call,
// reads a push once, has the source's webhook authenticate it, and answers 200
// when the journal has it on disk. It doesn't know what a push means, and it
// never waits for the bus.
package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// Amazon SNS gives an endpoint 15 seconds for everything (SNS developer guide,
// "Amazon SNS message delivery retries"). The times below fit into them one
// after the other: a body is read until 10 s after its first byte, and the
// journal is waited for until 9 s after the header was read.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	handlerTimeout    = 9 * time.Second
	writeTimeout      = 14 * time.Second
	idleTimeout       = 75 * time.Second
	maxHeaderBytes    = 16 << 10
)

// busyWait is how long an authentic push waits for its turn before it is sent
// away to come again.
const busyWait = 100 * time.Millisecond

// Defaults of [Config].
const (
	DefaultMaxBody        = 1 << 20
	DefaultMaxConnections = 2000
	DefaultMaxStrangers   = 64
	DefaultMaxInFlight    = 256
)

// Journal is what ingress asks of the journal.
type Journal interface {
	// Append returns once d is on disk. Once it has returned, whatever it
	// said, it needs nothing of d.Payload any more.
	Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (journal.Receipt, error)
	// Ready returns nil if Append could succeed now.
	Ready() error
}

// Config is what a [Server] is made of.
type Config struct {
	// Sources are all sources; those that don't push have no route.
	Sources []handlers.Source
	Journal Journal
	// ClientIP says where callers' addresses are taken from, and
	// TrustedProxies whose word is believed on them.
	ClientIP       ClientIP
	TrustedProxies []netip.Prefix
	// Certificate is what the listener shows; nil means plain HTTP.
	Certificate *Certificate

	MaxBody        int64 // bytes of a push; 0 means DefaultMaxBody
	MaxConnections int   // 0 means DefaultMaxConnections
	// MaxStrangers is how many of the connections may belong to callers on no
	// source's list; 0 means DefaultMaxStrangers. With Forwarded none of a
	// trusted proxy's belongs to one, whoever is behind it.
	MaxStrangers int
	// MaxInFlight is how many authentic pushes may wait for the journal at
	// once; 0 means DefaultMaxInFlight.
	MaxInFlight int
	// DrainDelay is how long pushes are still taken after Drain, while those
	// who ask /readyz find out.
	DrainDelay time.Duration
	// Refused hears of pushes that were refused though their caller is on the
	// source's list. It must not block, and keeps nothing of the header and
	// the body unless it copies them. Nil: nobody hears.
	Refused func(handlers.Refusal)

	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Server serves the ingress listener.
type Server struct {
	roster  atomic.Pointer[roster] // who may push what, now
	journal Journal
	maxBody int64
	tls     bool

	callers  callers
	listener *listener
	http     *http.Server
	slots    chan struct{} // one for each authentic push in flight
	buffers  sync.Pool     // of *bytes.Buffer

	updating sync.Mutex
	metrics  *metrics
	refusals *refusals
	refused  func(handlers.Refusal) // may be nil
	log      *slog.Logger

	drainDelay time.Duration
	drain      sync.Once
	draining   atomic.Bool // /readyz says so
	refusing   atomic.Bool // and pushes are refused
}

// New makes a server that will serve l. It fails if a source that pushes has
// no allow-list or no webhook: who authenticates nobody lets nobody in. And it
// fails if callers' addresses are to be told by nobody, or by anybody.
func New(l net.Listener, cfg Config) (*Server, error) {
	if err := cfg.ClientIP.Check(cfg.TrustedProxies); err != nil {
		return nil, fmt.Errorf("client_ip %s: trusted proxies: %w", cfg.ClientIP, err)
	}
	s := &Server{
		journal:    cfg.Journal,
		maxBody:    orDefault(cfg.MaxBody, DefaultMaxBody),
		tls:        cfg.Certificate != nil,
		callers:    callers{mode: cfg.ClientIP, proxies: slices.Clone(cfg.TrustedProxies)},
		slots:      make(chan struct{}, orDefault(cfg.MaxInFlight, DefaultMaxInFlight)),
		buffers:    sync.Pool{New: func() any { return new(bytes.Buffer) }},
		refusals:   newRefusals(cfg.Log),
		refused:    cfg.Refused,
		log:        cfg.Log,
		drainDelay: cfg.DrainDelay,
	}
	s.metrics = newMetrics(&s.roster, cfg.Certificate)
	if err := s.Update(cfg.Sources); err != nil {
		return nil, err
	}
	if err := s.metrics.register(cfg.Registerer); err != nil {
		return nil, err
	}
	s.listener = &listener{
		Listener: l,
		callers:  s.callers,
		roster:   &s.roster,
		limits: newLimits(
			orDefault(cfg.MaxConnections, DefaultMaxConnections),
			orDefault(cfg.MaxStrangers, DefaultMaxStrangers)),
		refused: s.refuseConnection,
	}
	s.http = s.server(cfg.Certificate)
	return s, nil
}

func (s *Server) server(cert *Certificate) *http.Server {
	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         new(http.Protocols),
		ConnContext:       withConn,
		ConnState:         s.listener.limits.moved,
		// net/http's own texts name addresses and sometimes more; the counts
		// say enough.
		ErrorLog: log.New(connectionErrors{s.refusals}, "", 0),
		// Else net/http answers OPTIONS * with 200 before anybody is asked
		// who calls.
		DisableGeneralOptionsHandler: true,
	}
	srv.Protocols.SetHTTP1(true)
	if cert != nil {
		srv.TLSConfig = cert.Config()
		s.askClients(srv.TLSConfig)
	}
	return srv
}

// routes returns the only paths there are. Echo would answer other methods of
// a known path by itself, OPTIONS even with a 2xx; RouteNotFound comes first.
func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.refuse
	e.Use(s.admit)
	e.POST("/hooks/:source", s.push)
	e.RouteNotFound("/hooks/:source", s.otherMethod)
	e.GET("/livez", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	e.RouteNotFound("/livez", notAllowed(http.MethodGet))
	e.GET("/readyz", s.readyz)
	e.RouteNotFound("/readyz", notAllowed(http.MethodGet))
	return e
}

// otherMethod answers what is no POST. Echo has forgotten the parameter by
// then.
func (s *Server) otherMethod(c echo.Context) error {
	name := strings.TrimPrefix(echo.GetPath(c.Request()), "/hooks/")
	if s.requested(c).roster.sources[name] == nil {
		return errPath
	}
	return notAllowed(http.MethodPost)(c)
}

func notAllowed(allowed string) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderAllow, allowed)
		return errMethod
	}
}

// readyz answers whether a push could be taken now.
func (s *Server) readyz(c echo.Context) error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.journal.Ready(); err != nil {
		return &journalError{err}
	}
	return c.NoContent(http.StatusOK)
}

// Serve answers until Shutdown, and then returns nil.
func (s *Server) Serve() error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Drain makes /readyz say 503, and after the drain delay refuses new pushes
// with 503, so that whoever shares the load stops sending them here. It
// returns at once and may be called again.
func (s *Server) Drain() {
	s.drain.Do(func() {
		s.draining.Store(true)
		if s.drainDelay <= 0 {
			s.refusing.Store(true)
			return
		}
		time.AfterFunc(s.drainDelay, func() { s.refusing.Store(true) })
	})
}

// Draining reports whether Drain was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Shutdown closes the listener and waits for the pushes in flight. When ctx
// ends first it closes their connections, so that nobody takes silence for a
// yes, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

func orDefault[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
