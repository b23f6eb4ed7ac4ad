// Package ops is the private listener: health, metrics, schemas and the API by
// which operators look at a running receiver.
package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10

	scrapeTimeout = 10 * time.Second
	checkTimeout  = 3 * time.Second
	maxScrapes    = 4
	maxStreams    = 16
)

// Config is what a [Server] is made of.
type Config struct {
	// TLS is required unless the listener is on loopback. Its certificate
	// must be in it.
	TLS *tls.Config
	// Tokens are those of the configuration; at least one is required unless
	// the listener is on loopback.
	Tokens []Token
	// LocalToken, from [LocalToken], lets its owner do everything.
	LocalToken string

	// Ready are the checks that decide whether a push can be taken.
	Ready func(context.Context) []Check
	// Degraded are the checks that are told, but keep nobody away.
	Degraded func(context.Context) []Check

	Gatherer   prometheus.Gatherer
	Registerer prometheus.Registerer // counts scrapes; may be nil
	Schemas    fs.FS                 // has <type>.v1.json at its top
	Tail       Tail
	Reload     Reload    // nil: there is nothing to read again
	Backup     Backup    // nil: there is nothing to copy
	Triage     Triage    // nil: there is nothing to look at
	Events     Events    // nil: there is nothing to be found
	Pollers    Pollers   // nil: nothing is polled
	Reconcile  Reconcile // nil: nothing is compared
	Sources    Sources   // nil: there is nothing to ask about
	Status     func(context.Context) Status
	Streams    func(context.Context) ([]StreamStatus, error)
	Version    Version
	Log        *slog.Logger
}

// Version is what runs.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

// Server serves the ops listener.
type Server struct {
	cfg      Config
	listener net.Listener
	loopback bool
	tokens   atomic.Pointer[[]credential]
	streams  chan struct{} // one for each stream
	http     *http.Server
	stopping context.Context // ends when streams must
	patience time.Duration
}

// New makes a server that will serve l. It fails if l can be reached from
// other machines and TLS or tokens are missing.
func New(l net.Listener, cfg Config) (*Server, error) {
	s := &Server{
		cfg:      cfg,
		listener: l,
		loopback: onLoopback(l.Addr()),
		streams:  make(chan struct{}, maxStreams),
		patience: patience,
	}
	if !s.loopback && cfg.TLS == nil {
		return nil, errors.New("ops listens off loopback: ops.tls is required")
	}
	if err := s.UpdateTokens(cfg.Tokens, cfg.LocalToken); err != nil {
		return nil, err
	}
	stopping, stop := context.WithCancel(context.Background())
	s.stopping = stopping
	s.http = &http.Server{
		Handler:           s.routes(),
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         new(http.Protocols),
		// Its texts are not ours to vouch for; a failed handshake is the
		// client's to tell.
		ErrorLog:                     log.New(discard{}, "", 0),
		DisableGeneralOptionsHandler: true,
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.RegisterOnShutdown(stop)
	return s, nil
}

type discard struct{}

// Write implements io.Writer.
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func onLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.problem
	e.Use(s.recovered, s.sameSite)
	e.GET("/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.readyz)
	e.GET("/metrics", echo.WrapHandler(s.metrics()))

	read := s.Require(RoleViewer)
	e.GET("/schemas", s.schemaIndex, read)
	e.GET("/schemas/", s.schemaIndex, read)
	e.GET("/schemas/:name", s.schema, read)
	s.documentRoutes(e)
	e.GET("/api/v1/version", func(c echo.Context) error { return writeJSON(c, s.cfg.Version) }, read)
	e.GET("/api/v1/tail", s.tail, read)
	if s.cfg.Triage != nil {
		s.triageRoutes(e)
	}
	if s.cfg.Events != nil {
		s.eventRoutes(e)
	}
	if s.cfg.Pollers != nil {
		s.pollerRoutes(e)
	}
	if s.cfg.Reconcile != nil {
		e.POST("/api/v1/sources/:name/reconcile", s.reconcile, s.Require(RoleOperator))
	}
	if s.cfg.Sources != nil {
		s.sourceRoutes(e)
	}
	if s.cfg.Status != nil {
		e.GET("/api/v1/status", s.status, read)
	}
	if s.cfg.Streams != nil {
		e.GET("/api/v1/streams", s.streamsStatus, read)
	}
	if s.cfg.Reload != nil {
		e.POST("/api/v1/reload", s.reload, s.Require(RoleOperator))
	}
	if s.cfg.Backup != nil {
		e.POST("/api/v1/backup", s.backup, s.Require(RoleOperator))
	}
	return e
}

func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{
		// A collector that fails costs its own metrics, not all others.
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            scrapeErrors{s.cfg.Log},
		Registry:            s.cfg.Registerer,
		MaxRequestsInFlight: maxScrapes,
		CoalesceGather:      true,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}

type scrapeErrors struct{ log *slog.Logger }

// Println implements promhttp.Logger. Its texts name metrics and labels, whose
// values are of closed sets.
func (e scrapeErrors) Println(v ...any) {
	e.log.Error("metrics are incomplete", "reason", sprint(v))
}

// recovered turns a panic into a 500 and a line that says where it was, not
// what it said.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.cfg.Log.Error("panic", "reason", panicked())
				err = echo.NewHTTPError(http.StatusInternalServerError)
			}
		}()
		return next(c)
	}
}

// Serve answers until Shutdown, and then returns nil.
func (s *Server) Serve() error {
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown closes the listener, ends streams and waits for other requests.
// When ctx ends first it closes their connections and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
