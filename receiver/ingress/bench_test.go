package ingress_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2" //nolint:depguard // the bare handler writes to it
	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/schemas"
)

const (
	benchConns   = 64
	benchBodies  = 1024
	benchSources = 128 // each takes each body once: signing takes longer than verifying
	benchRound   = 50  // pushes of a connection before it's the other server's turn
)

// BenchmarkAccept pushes signed envelopes of 2 KB over 64 connections to our
// server and, in turns because a disk has its moods, to two bare Echo handlers
// that decode and verify the envelope: one does a synced Pebble write, the
// other publishes to a JetStream that syncs always. One operation is a push to
// each.
func BenchmarkAccept(b *testing.B) {
	signer, err := corastonetest.Shared()
	if err != nil {
		b.Fatal(err)
	}
	bodies := signedBodies(b, signer, benchBodies)
	ours := newLoad(b, oursToBench(b, signer, nil), bodies)
	bare := newLoad(b, bareToBench(b, signer, toPebble(b)), bodies)
	direct := newLoad(b, bareToBench(b, signer, toJetStream(b)), bodies)
	b.ResetTimer()
	for done := 0; done < b.N; done += benchConns * benchRound {
		round := min(benchConns*benchRound, b.N-done)
		bare.run(b, round)
		ours.run(b, round)
		direct.run(b, round)
	}
	b.StopTimer()
	for name, l := range map[string]*load{"ours": ours, "bare": bare, "jetstream": direct} {
		slices.Sort(l.took)
		b.ReportMetric(float64(len(l.took))/l.total.Seconds(), name+"/s")
		b.ReportMetric(float64(l.took[len(l.took)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	b.ReportMetric(bare.total.Seconds()/ours.total.Seconds(), "of-bare")
	b.ReportMetric(direct.total.Seconds()/ours.total.Seconds(), "of-jetstream")
}

// signedBodies returns n different envelopes of about 2 KB.
func signedBodies(b testing.TB, signer *corastonetest.Signer, n int) [][]byte {
	b.Helper()
	node := corastonetest.NewNode(signer, corastonetest.Topic, 2)
	node.Version = "2"
	assets := make([]string, 45)
	for i := range assets {
		assets[i] = node.AssetID()
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		p, err := node.Notify(node.Process("createInvestment", "success", assets...))
		if err != nil {
			b.Fatal(err)
		}
		bodies[i] = p.Body
	}
	b.Logf("bodies of %d bytes", len(bodies[0]))
	return bodies
}

// oursToBench starts our server. change may be nil.
func oursToBench(b testing.TB, signer *corastonetest.Signer, change func(*ingress.Config)) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	cfg := ingress.Config{
		Journal:    realJournal(b),
		Registerer: prometheus.NewRegistry(),
		Log:        slog.New(slog.DiscardHandler),
	}
	for i := range benchSources {
		cfg.Sources = append(cfg.Sources, corastoneSource(b, "s"+strconv.Itoa(i), signer))
	}
	if change != nil {
		change(&cfg)
	}
	s, err := ingress.New(l, cfg)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	b.Cleanup(func() { _ = s.Shutdown(b.Context()) })
	return l.Addr().String()
}

// toPebble returns what stores a body with one synced write.
func toPebble(b *testing.B) func(ctx context.Context, id string, body []byte) error {
	b.Helper()
	db, err := pebble.Open(b.TempDir(), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 8 << 20, Logger: silent{},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return func(_ context.Context, id string, body []byte) error { return db.Set([]byte(id), body, pebble.Sync) }
}

// toJetStream returns what publishes a body and waits until it is synced.
func toJetStream(b *testing.B) func(ctx context.Context, id string, body []byte) error {
	b.Helper()
	js := bustest.NewExternal(b).Bus()
	bustest.Prepare(b, js)
	return func(ctx context.Context, id string, body []byte) error {
		id = strings.ReplaceAll(id, "/", "-")
		_, err := js.Publish(ctx, schemas.StreamRaw, []schemas.Message{{
			Stream: schemas.StreamRaw, Subject: "postern.raw.bench", ID: id,
			Header: map[string][]string{schemas.HeaderMsgID: {id}}, Body: body,
		}})
		return err
	}
}

// bareToBench starts what somebody would write who only wants to be fast.
func bareToBench(b *testing.B, signer *corastonetest.Signer, keep func(ctx context.Context, id string, body []byte) error) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode(signer.Certificate())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	key := cert.PublicKey.(*rsa.PublicKey)
	e := echo.New()
	e.POST("/hooks/:source", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		id, err := verified(key, body)
		if err != nil {
			return c.NoContent(http.StatusForbidden)
		}
		if err := keep(c.Request().Context(), c.Param("source")+"/"+id, body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"id":"`+id+`"}`))
	})
	srv := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// verified returns the MessageId of a notification with SignatureVersion 2
// that key signed.
func verified(key *rsa.PublicKey, body []byte) (string, error) {
	var e struct {
		Type, Message, Subject, Timestamp, Signature string
		MessageID                                    string `json:"MessageId"`
		TopicARN                                     string `json:"TopicArn"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return "", err
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return "", err
	}
	text := strings.Join([]string{
		"Message", e.Message, "MessageId", e.MessageID, "Subject", e.Subject, "Timestamp", e.Timestamp,
		"TopicArn", e.TopicARN, "Type", e.Type, "",
	}, "\n")
	sum := sha256.Sum256([]byte(text))
	return e.MessageID, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
}

type silent struct{}

func (silent) Infof(string, ...any)      {}
func (silent) Errorf(string, ...any)     {}
func (silent) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// load pushes to a server over connections that it keeps.
type load struct {
	conns  []net.Conn
	bodies [][]byte
	next   int // of the pushes that are possible
	took   []time.Duration
	total  time.Duration
}

func newLoad(b *testing.B, addr string, bodies [][]byte) *load {
	b.Helper()
	l := &load{bodies: bodies}
	for range benchConns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		l.conns = append(l.conns, c)
	}
	return l
}

// run pushes n times, each push another one.
func (l *load) run(b *testing.B, n int) {
	b.Helper()
	if l.next+n > benchBodies*benchSources {
		b.Fatal("more pushes than there are: use a shorter -benchtime")
	}
	took := make([]time.Duration, n)
	start := time.Now()
	var wg sync.WaitGroup
	for i, c := range l.conns {
		wg.Go(func() {
			r := bufio.NewReader(c)
			var request bytes.Buffer
			for k := i; k < n; k += len(l.conns) {
				at := l.next + k
				body := l.bodies[at%benchBodies]
				request.Reset()
				fmt.Fprintf(&request, "POST /hooks/s%d HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: %d\r\n\r\n", at/benchBodies, len(body))
				request.Write(body)
				sent := time.Now()
				if err := exchange(c, r, request.Bytes()); err != nil {
					b.Error(err)
					return
				}
				took[k] = time.Since(sent)
			}
		})
	}
	wg.Wait()
	l.total += time.Since(start)
	l.took = append(l.took, took...)
	l.next += n
}

// exchange is as little of an HTTP client as will do: the client has its share
// of the machine, and what counts is the server's.
func exchange(c net.Conn, r *bufio.Reader, request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	length := 0
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if n == 0 && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answered %q", line)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	_, err := r.Discard(length)
	return err
}
