package ops

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"
)

// Status is how the receiver is, on one screen.
type Status struct {
	Version Version `json:"version"`
	// Wrong lists what somebody should look at, each with what to do next.
	Wrong []string `json:"wrong"`

	Sources      []SourceStatus      `json:"sources"`
	Journal      JournalStatus       `json:"journal"`
	Quarantine   []Count             `json:"quarantine"` // what is in it
	Rejected     []Count             `json:"rejected"`   // refused within the last hour, and kept
	NATS         NATSStatus          `json:"nats"`
	Streams      []StreamStatus      `json:"streams"`
	Certificates []CertificateStatus `json:"certificates"`
	Pollers      []PollerStatus      `json:"pollers"`
}

// SourceStatus is how a source is.
type SourceStatus struct {
	Name     string     `json:"name"`
	Platform string     `json:"platform"`
	Pushes   bool       `json:"pushes"`
	LastPush *time.Time `json:"lastPush"` // authentic; null if none is known of
}

// JournalStatus is what waits for the bus.
type JournalStatus struct {
	Entries   int64      `json:"entries"`
	Bytes     int64      `json:"bytes"`
	MaxBytes  int64      `json:"maxBytes"`
	Oldest    *time.Time `json:"oldest"`    // when the oldest entry arrived
	FreeBytes *int64     `json:"freeBytes"` // of the disk
	Reserve   int64      `json:"reserve"`   // that must remain free
}

// Count is how many there are of a source for a reason.
type Count struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// NATSStatus is how the bus is.
type NATSStatus struct {
	Connected bool          `json:"connected"`
	Checks    []CheckStatus `json:"checks"`
}

// CheckStatus is a check that was made.
type CheckStatus struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// StreamStatus is how a stream, or the one behind a bucket, is and should be.
type StreamStatus struct {
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Messages    uint64           `json:"messages"`
	Bytes       uint64           `json:"bytes"`
	MaxBytes    int64            `json:"maxBytes"` // -1: no limit
	Fill        int              `json:"fill"`     // percent of maxBytes
	MaxAge      string           `json:"maxAge"`   // "" if there is none
	WhenFull    string           `json:"whenFull"` // refuses, or drops the oldest
	First       uint64           `json:"first"`    // sequence
	Last        uint64           `json:"last"`     // sequence
	FirstTime   *time.Time       `json:"firstTime"`
	LastTime    *time.Time       `json:"lastTime"`
	Replicas    int              `json:"replicas"`
	Consumers   []ConsumerStatus `json:"consumers"` // durable ones
	Drift       []string         `json:"drift"`     // from the configuration
}

// ConsumerStatus is how far a durable consumer is.
type ConsumerStatus struct {
	Name    string `json:"name"`
	Pending uint64 `json:"pending"`
}

// CertificateStatus says when a certificate ends.
type CertificateStatus struct {
	Source  string    `json:"source"`
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
}

// status answers GET /api/v1/status, always with 200: what is wrong is listed.
func (s *Server) status(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*checkTimeout)
	defer cancel()
	status := s.cfg.Status(ctx)
	status.Version = s.cfg.Version
	return writeJSON(c, status)
}

// streamsStatus answers GET /api/v1/streams.
func (s *Server) streamsStatus(c echo.Context) error {
	list, err := s.cfg.Streams(c.Request().Context())
	if err != nil {
		return s.triageError(err)
	}
	return writeJSON(c, struct {
		Streams []StreamStatus `json:"streams"`
	}{list})
}
