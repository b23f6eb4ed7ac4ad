package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Embedded is a server in this process. Its store is synced before anything is
// acknowledged, and encrypted.
type Embedded struct {
	// Dir is the store's own folder. Nothing else may be in it.
	Dir string
	// StoreKey encrypts the store. With another key than the one that a
	// store was made with nothing of it can be read, see [ErrUnrecovered].
	StoreKey string
	// Listen is the address at which others may connect; "" for nobody. With
	// port 0 the system chooses one, see [Bus.Addr]. At an address that is
	// not a loopback address, TLS and Users are required.
	Listen string
	TLS    *tls.Config
	Users  []User
}

// memoryStore is for the consumers that live in memory.
const memoryStore = 64 << 20

// maxConnections and maxSubscriptions, the latter of one connection, bound what
// others can make the server hold.
const (
	maxConnections   = 2048
	maxSubscriptions = 10_000
)

// embedded is the server in this process. The server itself can't be started
// twice, so that every restart makes a new one.
type embedded struct {
	cfg      Embedded
	maxStore int64
	log      *slog.Logger
	own      nkeys.KeyPair // of our own connection
	readers  []reader

	mu      sync.Mutex
	current *server.Server // nil while there is none
	at      net.Addr       // where it listens, kept over restarts
	stopped bool
	resting bool // it is halted on purpose, see Bus.Rest
	state   health
}

func startEmbedded(cfg Embedded, maxStore int64, log *slog.Logger) (*embedded, error) {
	if cfg.Dir == "" {
		return nil, errors.New("the embedded NATS needs a folder")
	}
	if cfg.StoreKey == "" {
		return nil, errors.New("the embedded NATS needs a store key")
	}
	readers, err := cfg.readers()
	if err != nil {
		return nil, err
	}
	own, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("key of our own connection: %w", err)
	}
	e := &embedded{cfg: cfg, maxStore: maxStore, log: log, own: own, readers: readers}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the embedded NATS: %w", err)
	}
	return e, e.start()
}

// options let nats.go connect to whichever server is the current one, so that
// the connection survives a restart of it.
func (e *embedded) options() ([]nats.Option, error) {
	public, err := e.own.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("key of our own connection: %w", err)
	}
	return []nats.Option{nats.InProcessServer(e), nats.Nkey(public, e.own.Sign)}, nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	s := e.current
	e.mu.Unlock()
	if s == nil {
		return nil, ErrDisconnected
	}
	return s.InProcessConn()
}

func (e *embedded) addr() net.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at
}

func (e *embedded) server() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// start makes a new server and returns when it serves.
func (e *embedded) start() error {
	opts, err := e.serverOptions()
	if err != nil {
		return err
	}
	if err := syncBlocks(e.cfg.Dir); err != nil {
		return fmt.Errorf("sync the store of the embedded NATS: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	lines := &serverLog{log: e.log}
	s.SetLoggerV2(lines, false, false, false)
	s.Start()
	// Start tells what went wrong only to its logger.
	if err = lines.fatal(); err == nil && !s.ReadyForConnections(10*time.Second) {
		err = errors.New("it is not ready for connections")
	}
	if err == nil && !s.JetStreamEnabled() {
		err = errors.New("JetStream is not enabled")
	}
	e.mu.Lock()
	stopped := e.stopped
	if err == nil && !stopped {
		e.current = s
		if a, ok := s.Addr().(*net.TCPAddr); ok {
			e.at = a
		}
	}
	e.mu.Unlock()
	if err != nil || stopped {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	return nil
}

// halt stops the current server, if there is one.
func (e *embedded) halt() {
	e.mu.Lock()
	s := e.current
	e.current = nil
	e.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// stop ends it for good.
func (e *embedded) stop() {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.halt()
}

func (e *embedded) serverOptions() (*server.Options, error) {
	opts := &server.Options{}
	// Accounts with JetStream can only be described in the server's own
	// configuration language.
	if err := opts.ProcessConfigString(accountsConfig(e.readers)); err != nil {
		return nil, fmt.Errorf("accounts of the embedded NATS: %w", err)
	}
	if err := addUsers(opts, e.own, e.readers); err != nil {
		return nil, err
	}
	opts.ServerName = "postern"
	opts.NoSigs = true
	opts.DisableJetStreamBanner = true
	opts.DisableShortFirstPing = true
	opts.MaxPayload = maxPayload
	opts.MaxConn = maxConnections
	opts.MaxSubs = maxSubscriptions
	opts.JetStream = true
	opts.StoreDir = e.cfg.Dir
	opts.JetStreamMaxStore = e.maxStore
	opts.JetStreamMaxMemory = memoryStore
	opts.JetStreamKey = e.cfg.StoreKey
	opts.JetStreamCipher = server.AES
	opts.SyncAlways = true
	if e.cfg.Listen == "" {
		opts.DontListen = true
		return opts, nil
	}
	host, port, err := listenAddress(e.cfg.Listen)
	if err != nil {
		return nil, err
	}
	if at, ok := e.addr().(*net.TCPAddr); ok {
		port = at.Port
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts.Host, opts.Port = host, port
	if e.cfg.TLS != nil {
		opts.TLS = true
		opts.TLSConfig = e.cfg.TLS.Clone()
		opts.TLSTimeout = 5
	}
	return opts, nil
}

// syncBlocks syncs what a store's messages are in. A server that ended amid a
// batch may have written some of it without a sync; when it finds that again
// and is offered the same ids, it acknowledges them as stored.
func syncBlocks(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && filepath.Ext(path) != ".blk" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// storeDir is where the server keeps a stream's files.
func (e *embedded) storeDir(stream string) string {
	return filepath.Join(e.cfg.Dir, server.JetStreamStoreDir, ownAccount, "streams", stream)
}
