package main

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// refusesThem: who is allowed to call is not believed.
func (a *aviary) refusesThem() {
	forge := func(change func(*corastonetest.Envelope)) corastonetest.Push {
		e, err := testSigner(a.t).Sign(a.node.Notification(corastonetest.Text(`{"transaction":{"processId":"f1","status":"success"}}`)))
		if err != nil {
			a.t.Fatal(err)
		}
		change(&e)
		p := e.Push()
		p.Header.Set("User-Agent", "SNS")
		return p
	}
	for _, change := range []func(*corastonetest.Envelope){
		func(e *corastonetest.Envelope) { e.Message = a.fill("a forged Message", `{"job":{"name":"¤"}}`) },
		func(e *corastonetest.Envelope) {
			e.TopicARN = a.fill("a forged TopicArn", "arn:aws:sns:us-east-1:1:¤")
		},
		func(e *corastonetest.Envelope) { e.MessageID = a.plant("a forged MessageId") },
		func(e *corastonetest.Envelope) { e.Timestamp = a.plant("a forged Timestamp") },
		func(e *corastonetest.Envelope) { e.Signature = a.plant("a forged Signature") },
		func(e *corastonetest.Envelope) { e.SignatureVersion = a.plant("a forged SignatureVersion") },
	} {
		a.wants(http.StatusForbidden, "corastone", forge(change))
	}
	for _, at := range []string{
		"https://" + a.ascii("the host of a SigningCertURL") + ".example/SimpleNotificationService-0a1b.pem",
		"https://sns.us-east-1.amazonaws.com/¤.pem", "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem?¤",
		"https://¤@sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem", "¤",
	} {
		at = a.fill("a SigningCertURL", at)
		a.wants(http.StatusForbidden, "required", forge(func(e *corastonetest.Envelope) { e.SigningCertURL = at }))
	}
	for _, name := range []string{"X-Amz-Sns-Message-Id", "X-Amz-Sns-Message-Type", "X-Amz-Sns-Topic-Arn"} {
		p := forge(func(*corastonetest.Envelope) {})
		p.Header.Set(name, a.plant("the header "+name))
		a.wants(http.StatusForbidden, "corastone", p)
	}
	for _, body := range []string{`¤`, `{"name":"¤"}`, `[{"name":"¤"}]`, `{"Type":"¤"}`, `{"Type":"Notification","Message":{"name":"¤"}}`} {
		p := forge(func(*corastonetest.Envelope) {})
		p.Body = []byte(a.fill("no envelope", body))
		a.wants(http.StatusServiceUnavailable, "corastone", p)
	}
	p := forge(func(*corastonetest.Envelope) {})
	p.Body = bytes.Repeat([]byte(a.plant("a body that is too large")), 100_000)
	a.wants(http.StatusRequestEntityTooLarge, "corastone", p)

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, a.plant("a compressed body"))
	_ = w.Close()
	p = forge(func(*corastonetest.Envelope) {})
	p.Body = packed.Bytes()
	p.Header.Set("Content-Encoding", "gzip")
	a.wants(http.StatusServiceUnavailable, "corastone", p)
	p.Header.Set("Content-Encoding", a.plant("a Content-Encoding"))
	a.wants(http.StatusServiceUnavailable, "corastone", p)
}

// hearsThemFromStrangers: callers on no list, and paths and methods that are
// none.
func (a *aviary) hearsThemFromStrangers() {
	p := func() corastonetest.Push {
		return corastonetest.Push{
			Header: http.Header{"User-Agent": {a.plant("a stranger's User-Agent")}},
			Body:   []byte(a.fill("a stranger's body", `{"name":"¤"}`)),
		}
	}
	path := func(format string) string { return fmt.Sprintf(format, url.PathEscape(a.plant("a path or query"))) }
	for _, c := range []struct {
		from, method, path string
		want               int
	}{
		{"127.0.0.8", http.MethodPost, "/hooks/corastone", http.StatusForbidden},
		{"127.0.0.8", http.MethodPost, path("/hooks/%s"), http.StatusForbidden},
		{"127.0.0.8", http.MethodGet, path("/?%s"), http.StatusForbidden},
		{caller, http.MethodPost, path("/hooks/%s"), http.StatusNotFound},
		{caller, http.MethodPost, path("/%s"), http.StatusNotFound},
		{caller, http.MethodPost, path("/hooks/corastone/%s"), http.StatusNotFound},
		{caller, http.MethodPut, path("/hooks/corastone?%s"), http.StatusMethodNotAllowed},
		{caller, http.MethodPost, path("/hooks/corastone?name=%s"), http.StatusServiceUnavailable},
	} {
		if got := a.send(c.from, c.method, c.path, p()); got != c.want {
			a.t.Errorf("%s %s was answered %d, want %d", c.method, c.path, got, c.want)
		}
	}
}

// readsBrokenRequests: what is no HTTP, or no TLS.
func (a *aviary) readsBrokenRequests() {
	raw := func(text string, encrypt bool, name string) {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(caller)}, Timeout: patience}
		var c net.Conn
		c, err := dialer.DialContext(a.t.Context(), "tcp", a.gate())
		if err != nil {
			a.t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if encrypt {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		}
		_, _ = io.WriteString(c, text) // it may be cut off
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.Copy(&a.answers, c)
	}
	const request = "POST /hooks/corastone HTTP/1.1\r\nHost: x\r\n"
	for _, text := range []string{
		"¤ / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /¤ HTTP/9.9\r\nHost: x\r\n\r\n",
		"POST /hooks/corastone HTTP/1.1\r\nHost: ¤\r\nContent-Length: 2\r\n\r\n{}",
		request + "¤\r\n\r\n",
		request + "¤: 1\r\n\r\n",
		request + "Content-Length: ¤\r\n\r\n",
		request + "Content-Length: 900\r\n\r\n{\"name\":\"¤\"",
		request + "Transfer-Encoding: chunked\r\n\r\n¤\r\n",
		request + "Transfer-Encoding: ¤\r\n\r\n",
		request + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Name: ¤\r\n\r\n",
		request + "Expect: ¤\r\n\r\n",
		"POST /hooks/corastone HTTP/1.0\r\nX-Name: ¤\r\n\r\n",
		request + "X-Name: ¤" + strings.Repeat("x", 64<<10) + "\r\n\r\n",
	} {
		raw(a.fill("a broken request", text), true, "")
	}
	raw(request, true, a.ascii("the name that TLS asks for")+".example")
	raw(a.fill("a request without TLS", "GET /¤ HTTP/1.1\r\nHost: ¤\r\n\r\n"), false, "")
}
