package main

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/seed75441868/postern/handlers"
)

// Config is what a configuration says, checked and complete: secrets and files
// are read, sources are open. The yaml tags are the keys of the file, the doc
// tags describe them in its JSON Schema.
type Config struct {
	DataDir    Path       `yaml:"data_dir" validate:"required" doc:"Folder of the journal and the embedded NATS store."`
	Insecure   bool       `yaml:"insecure" doc:"Must be true for settings that only tests want."`
	Ingress    Ingress    `yaml:"ingress" doc:"The listener that platforms push to."`
	Ops        Ops        `yaml:"ops" doc:"The private listener: health, metrics, API."`
	Outbound   Outbound   `yaml:"outbound" doc:"How platforms' APIs and certificates are reached."`
	NATS       NATS       `yaml:"nats" doc:"The bus: embedded, or a server elsewhere."`
	Journal    Journal    `yaml:"journal" doc:"What is kept on this disk until the bus has it."`
	Seal       Seal       `yaml:"seal" doc:"Keys that seal what lies on the disk and on the bus."`
	Pseudonyms Pseudonyms `yaml:"pseudonyms" doc:"Key of the hashes that stand for personal values."`
	Log        Log        `yaml:"log" doc:"What is logged, to stderr."`
	Sources    Sources    `yaml:"sources" validate:"-" doc:"What is received, by name: route, subject token and metric label."`

	// Warnings are what somebody should look at though it works.
	Warnings []Problem `yaml:"-" validate:"-"`

	origins origins
	seen    seen
	outside *surroundings
}

// Path is a setting that names a file or a folder. A relative one is relative
// to the file that it stands in, or for an environment variable to the working
// directory; in Config it is relative to the working directory always.
type Path string

// Ingress is the listener that platforms push to.
type Ingress struct {
	Listen         string            `yaml:"listen" validate:"listen" doc:"Address to listen on."`
	TLS            *TLS              `yaml:"tls" doc:"Serve HTTPS."`
	ClientIP       string            `yaml:"client_ip" validate:"oneof=direct forwarded proxy-protocol" doc:"Where a caller's address is taken from: the socket, the proxies' X-Forwarded-For, or their PROXY header."`
	TrustedProxies []handlers.Prefix `yaml:"trusted_proxies" doc:"Proxies whose word on a caller's address is believed, unless client_ip is direct."`
	MaxBody        handlers.Size     `yaml:"max_body" validate:"min=1024,max=4194304" doc:"Largest body that is read."`
	MaxConnections int               `yaml:"max_connections" validate:"min=1" doc:"Connections at a time."`
	DrainDelay     handlers.Duration `yaml:"drain_delay" validate:"max=5m" doc:"How long pushes are still taken at the end, while /readyz says 503 already."`
}

// TLS is the certificate of a listener.
type TLS struct {
	Cert Path `yaml:"cert" validate:"required" doc:"PEM file with the certificate and its chain."`
	Key  Path `yaml:"key" validate:"required" doc:"PEM file with the certificate's key."`
}

// Ops is the private listener.
type Ops struct {
	Listen string  `yaml:"listen" validate:"listen" doc:"Address to listen on. Off loopback, tls and tokens are required."`
	TLS    *TLS    `yaml:"tls" doc:"Serve HTTPS."`
	Tokens []Token `yaml:"tokens" validate:"dive" doc:"Who may use the API."`
}

// Token lets its bearer use the API.
type Token struct {
	Name  string          `yaml:"name" validate:"required" doc:"Who it is, in the log of operators' actions."`
	Role  string          `yaml:"role" validate:"oneof=viewer operator unseal" doc:"viewer reads, operator changes, unseal also opens what is sealed."`
	Token handlers.Secret `yaml:"token" doc:"The token itself."`
}

// Outbound says how platforms are reached.
type Outbound struct {
	Proxy  string `yaml:"proxy" validate:"omitempty,url" doc:"URL of an HTTP proxy."`
	CAFile Path   `yaml:"ca_file" doc:"PEM file with more roots."`

	roots *x509.CertPool // those of the system too
}

// NATS is the bus. Without a URL it is embedded.
type NATS struct {
	URL          string            `yaml:"url" validate:"natsurl" doc:"URL of a NATS server, or several with commas between. Empty: embedded."`
	TLS          *ClientTLS        `yaml:"tls" doc:"How the server at url is trusted, and what we show it."`
	Credentials  *handlers.Secret  `yaml:"credentials" doc:"Credentials file for the server at url."`
	NKey         *handlers.Secret  `yaml:"nkey" doc:"NKey seed for the server at url."`
	User         string            `yaml:"user" doc:"User name for the server at url."`
	Password     *handlers.Secret  `yaml:"password" doc:"Password for the server at url."`
	Embedded     Embedded          `yaml:"embedded" doc:"The embedded server, if url is empty."`
	Replicas     int               `yaml:"replicas" validate:"oneof=1 3 5" doc:"Copies of each stream, in a cluster."`
	DedupeWindow handlers.Duration `yaml:"dedupe_window" validate:"min=1s" doc:"How long the server knows the ids of what it stored."`
	TrimAfter    handlers.Duration `yaml:"trim_after" validate:"gt=0" doc:"How long entries stay in the journal after a server at url has acknowledged them."`
	Retention    Retention         `yaml:"retention" doc:"How long each stream keeps what it holds, and how much."`
}

// ClientTLS is what a client of a TLS server needs.
type ClientTLS struct {
	CA   Path `yaml:"ca" doc:"PEM file with the roots to trust. Empty: those of the system."`
	Cert Path `yaml:"cert" validate:"required_with=Key" doc:"PEM file with the certificate to show."`
	Key  Path `yaml:"key" validate:"required_with=Cert" doc:"PEM file with that certificate's key."`

	roots *x509.CertPool
	pair  *tls.Certificate
}

// Config returns a new client configuration, of the files as they were when
// the configuration was loaded.
func (t *ClientTLS) Config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots}
	if t.pair != nil {
		c.Certificates = []tls.Certificate{*t.pair}
	}
	return c
}

// Embedded is the embedded NATS server.
type Embedded struct {
	Listen   string        `yaml:"listen" validate:"omitempty,listen" doc:"Address to let others in. Empty: in this process only. Off loopback, tls and users are required."`
	TLS      *TLS          `yaml:"tls" doc:"Serve TLS on listen."`
	MaxStore handlers.Size `yaml:"max_store" validate:"min=16777216" doc:"Disk that all streams share."`
	Users    []User        `yaml:"users" validate:"dive" doc:"Who may read what."`
}

// User may read from the embedded NATS server.
type User struct {
	Name     string          `yaml:"name" validate:"required" doc:"User name."`
	Password handlers.Secret `yaml:"password" doc:"Password."`
	Allow    string          `yaml:"allow" validate:"oneof=events restricted all" doc:"What the user may read."`
}

// Retention says how long streams keep what they hold.
type Retention struct {
	Events     Keep     `yaml:"events" doc:"Events without personal data."`
	Restricted Keep     `yaml:"restricted" doc:"Twins of events that not everybody may see."`
	Raw        Keep     `yaml:"raw" doc:"Every authenticated delivery, sealed."`
	Ops        Keep     `yaml:"ops" doc:"platform.* events and operators' actions."`
	Quarantine KeepSize `yaml:"quarantine" doc:"What could not become an event, until it is handled."`
}

// Keep is the retention of a stream: an age, or {age: 30d, max_bytes: 3GiB}.
type Keep struct {
	Age      handlers.Duration `yaml:"age,short" validate:"gt=0" doc:"How long."`
	MaxBytes handlers.Size     `yaml:"max_bytes,omitempty" doc:"How much. Not set: a share of max_store."`
}

// KeepSize is the retention of a stream without an age.
type KeepSize struct {
	MaxBytes handlers.Size `yaml:"max_bytes,omitempty" doc:"How much. Not set: a share of max_store."`
}

// Journal limits the journal.
type Journal struct {
	MaxBytes handlers.Size `yaml:"max_bytes" validate:"gt=0" doc:"Above it pushes are answered 503."`
	Reserve  handlers.Size `yaml:"reserve" doc:"Free bytes of the disk. Below it pushes are answered 503."`
}

// Seal holds the keys that seal.
type Seal struct {
	Keys []handlers.Secret `yaml:"keys" doc:"32 bytes in base64 each: the first seals, all open. None: made in an empty data_dir."`
}

// Pseudonyms holds the key of all hashes of personal values.
type Pseudonyms struct {
	Key *handlers.Secret `yaml:"key" doc:"32 bytes in base64. None: made in an empty data_dir."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" validate:"oneof=debug info warn error" doc:"Least level that is logged."`
	Format string `yaml:"format" validate:"oneof=json text" doc:"json or text. Not set: text on a terminal, else json."`
}

// Sources are the configured sources, sorted by name.
type Sources []*Source

// Source is a configured source.
type Source struct {
	Name     string
	Platform handlers.Platform
	Settings any // what Platform.Settings returned, decoded and validated
	Opened   handlers.Source
}
