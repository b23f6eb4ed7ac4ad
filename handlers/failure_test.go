package handlers_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

func with(client *http.Client, at string) error {
	s := handlers.NewSession(client, func(context.Context, handlers.Ask, handlers.Token) (handlers.Token, error) {
		return handlers.Token{Value: "t"}, nil
	})
	_, err := s.Do(context.Background(), handlers.Call{Endpoint: "things", URL: at + "/contracts/secret"})
	return err
}

// raw is a server that answers everything with the same bytes.
func raw(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

// The HTTP library quotes what it can't read. We don't.
func TestErrorsQuoteNoAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"a header":      "HTTP/1.1 200 OK\r\nInvestor secret P1234567\r\n\r\n",
		"a location":    "HTTP/1.1 302 Found\r\nLocation: http://[::1/contracts/secret\r\nContent-Length: 0\r\n\r\n",
		"a status":      "HTTP/1.1 2x0 secret\r\n\r\n",
		"a protocol":    "SECRET secret\r\n\r\n",
		"a length":      "HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",
		"an encoding":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n",
		"a chunk":       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
		"nothing":       "",
		"half a header": "HTTP/1.1 200 OK\r\nInvestor: secret",
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			err := with(client, raw(t, answer))
			var upstream *handlers.UpstreamError
			if !errors.As(err, &upstream) || upstream.Code != 0 || strings.Contains(strings.ToLower(err.Error()), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What kind of failure it is can be told, and is.
func TestErrorsSayWhichKindTheyAre(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := func() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

	var unknown x509.UnknownAuthorityError
	if err := with(plain(), secure.URL); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v", err)
	}
	var op *net.OpError
	if err := with(plain(), gone.URL); !errors.As(err, &op) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody is there: %v", err)
	}
	hasty := plain()
	hasty.Timeout = 20 * time.Millisecond
	if err := with(hasty, slow.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too slow: %v", err)
	}
	var late net.Error
	waiting := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Millisecond, DisableKeepAlives: true}}
	if err := with(waiting, slow.URL); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("no header: %v", err)
	}
	if err := with(plain(), strings.Replace(gone.URL, "http:", "https:", 1)); !errors.As(err, &op) {
		t.Errorf("nobody is there: %v", err)
	}
	if err := with(plain(), strings.Replace(slow.URL, "http:", "https:", 1)); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("no TLS: %v", err)
	}
	const alone = handlers.ClientError("it is left alone")
	refusing := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, alone })}
	if err := with(refusing, "http://platform.invalid"); !errors.Is(err, alone) || err.Error() != "things: it is left alone" {
		t.Errorf("our own: %v", err)
	}
	var dns *net.DNSError
	nowhere := plain()
	nowhere.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "platform.invalid", IsNotFound: true}}
	}}
	if err := with(nowhere, "http://platform.invalid"); !errors.As(err, &dns) || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("no such host: %v", err)
	}
}
