package ingress

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/seed75441868/postern/receiver/journal"
)

const levelAccepted = slog.LevelDebug

func (s *Server) logAccepted(r *http.Request, src *source, receipt journal.Receipt, size int, start time.Time) {
	s.log.LogAttrs(r.Context(), levelAccepted, "push accepted",
		slog.String("source", src.Name),
		slog.Int("status", http.StatusOK),
		slog.String("outcome", outcomeOf(receipt.Outcome).String()),
		slog.String("delivery", receipt.ID),
		slog.String("remote", remote(r)),
		slog.Int("bytes", size),
		slog.Duration("duration", time.Since(start)))
}

// quiet is how long one refusal stands for all of its kind.
const quiet = time.Minute

// refusals logs the first refusal of a kind and then one a minute with the
// number of those between, so that who is refused can't fill a disk.
type refusals struct {
	out  *slog.Logger
	mu   sync.Mutex
	seen map[kind]*spell
}

// kind is of a closed set: sources times errors.
type kind struct{ source, check string }

type spell struct {
	logged     time.Time
	suppressed int
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{out: log, seen: map[kind]*spell{}}
}

// due counts a refusal, and reports whether it is to be logged and how many
// were not since the last that was.
func (r *refusals) due(k kind) (suppressed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	last := r.seen[k]
	if last != nil && now.Sub(last.logged) < quiet {
		last.suppressed++
		return 0, false
	}
	if last != nil {
		suppressed = last.suppressed
	}
	r.seen[k] = &spell{logged: now}
	return suppressed, true
}

// log tells of a refused request. id is the request id in its answer.
func (r *refusals) log(req *http.Request, src *source, a answer, id string) {
	k := kind{check: a.check}
	if src != nil {
		k.source = src.Name
	}
	suppressed, ok := r.due(k)
	if !ok {
		return
	}
	level := slog.LevelWarn
	if a.ours {
		level = slog.LevelError
	}
	r.out.LogAttrs(req.Context(), level, "push refused",
		slog.String("request_id", id),
		slog.String("source", k.source),
		slog.Int("status", a.status),
		slog.String("outcome", a.outcome.String()),
		slog.String("reason", a.reason()),
		slog.String("remote", remote(req)),
		slog.Int64("bytes", req.ContentLength),
		slog.Int("suppressed", suppressed))
}

// logConnection tells of a connection that was refused before a request came.
func (r *refusals) logConnection(remote netip.Addr, check string) {
	if suppressed, ok := r.due(kind{check: check}); ok {
		r.out.LogAttrs(context.Background(), slog.LevelWarn, "connection refused",
			slog.String("reason", check),
			slog.String("remote", remote.String()),
			slog.Int("suppressed", suppressed))
	}
}

// connectionErrors takes what net/http logs about connections that broke
// before there was a request, such as TLS handshakes.
type connectionErrors struct{ refusals *refusals }

// Write implements io.Writer.
func (w connectionErrors) Write(p []byte) (int, error) {
	check := "connection"
	if bytes.HasPrefix(p, []byte("http: TLS handshake error")) {
		check = "tls_handshake"
	}
	if suppressed, ok := w.refusals.due(kind{check: check}); ok {
		w.refusals.out.LogAttrs(context.Background(), slog.LevelWarn, "connection failed before a request came",
			slog.String("reason", check),
			slog.Int("suppressed", suppressed))
	}
	return len(p), nil
}
