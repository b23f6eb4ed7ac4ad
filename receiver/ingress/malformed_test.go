package ingress_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ingress"
)

// breaks are the ways to spoil a body.
var breaks = []func(r *rand.Rand, body []byte) []byte{
	func(*rand.Rand, []byte) []byte { return nil },
	func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] },
	func(r *rand.Rand, b []byte) []byte { return b[r.IntN(len(b)):] },
	func(r *rand.Rand, b []byte) []byte { // flipped bits
		b = bytes.Clone(b)
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return b
	},
	func(r *rand.Rand, b []byte) []byte { // a piece gone
		from := r.IntN(len(b))
		return append(bytes.Clone(b[:from]), b[from+r.IntN(len(b)-from):]...)
	},
	func(r *rand.Rand, b []byte) []byte { // a piece twice
		from := r.IntN(len(b))
		to := from + r.IntN(len(b)-from)
		return append(bytes.Clone(b[:to]), b[from:]...)
	},
	func(r *rand.Rand, b []byte) []byte { // something in between
		words := []string{
			"\x00", "\xff\xfe", "\xef\xbb\xbf", "\xc0\xaf", "\xed\xa0\x80", `\ud800`, `\u0000`, `"`, `\`, "{", "}", "[", "]", ",", ":", "\r\n",
			"null", "true", "NaN", "-", "1e400", "1e-400", "00", "0x10", "99999999999999999999999999", "/*", "//", "'",
		}
		at := r.IntN(len(b))
		return []byte(string(b[:at]) + words[r.IntN(len(words))] + string(b[at:]))
	},
	func(r *rand.Rand, b []byte) []byte { // a member again, perhaps in another spelling
		names := []string{"Type", "type", "TYPE", "Message", "MessageId", "TopicArn", "Signature", "SigningCertURL", "Timestamp", "Token", "SubscribeURL"}
		values := []string{`""`, `"x"`, "null", "0", "{}", "[]", `{"Type":"Notification"}`, `"SubscriptionConfirmation"`, `"` + strings.Repeat("A", 4000) + `"`}
		return []byte(fmt.Sprintf(`{"%s":%s,`, names[r.IntN(len(names))], values[r.IntN(len(values))]) + string(bytes.TrimLeft(b, " {")))
	},
	func(r *rand.Rand, b []byte) []byte { // another kind of value
		names := []string{"Type", "Message", "MessageId", "TopicArn", "Signature", "SignatureVersion", "SigningCertURL", "Timestamp", "Subject"}
		values := []string{"null", "0", "-1.5e3", "true", "[]", "{}", `"\u0000"`, `"%"`, `[[[[[[]]]]]]`}
		return bytes.Replace(b, []byte(`"`+names[r.IntN(len(names))]+`":`), []byte(`"`+names[r.IntN(len(names))]+`":`+values[r.IntN(len(values))]+`,"x":`), 1)
	},
	func(r *rand.Rand, _ []byte) []byte { // noise
		b := make([]byte, r.IntN(4<<10))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	},
	func(r *rand.Rand, _ []byte) []byte { // depth
		open := []string{"[", `{"Message":`, `[{"a":`, `["`}
		return []byte(strings.Repeat(open[r.IntN(len(open))], 1+r.IntN(10_000)))
	},
	func(r *rand.Rand, _ []byte) []byte { // breadth
		one := []string{"{},", "[],", "0,", `"",`, `{"a":[]},`}
		return []byte("[" + strings.Repeat(one[r.IntN(len(one))], 1+r.IntN(10_000)) + "0]")
	},
	func(r *rand.Rand, _ []byte) []byte { // members
		var b strings.Builder
		b.WriteString(`{"Type":"Notification"`)
		for i := range r.IntN(1_000) {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return []byte(b.String() + "}")
	},
	func(r *rand.Rand, _ []byte) []byte { // length
		return []byte(`{"Type":"Notification","Message":"` + strings.Repeat("x", r.IntN(1200<<10)) + `"}`)
	},
	func(_ *rand.Rand, b []byte) []byte { return append(bytes.Clone(b), b...) },
	func(_ *rand.Rand, b []byte) []byte { return append(bytes.Clone(b), "]}\x00"...) },
	func(_ *rand.Rand, b []byte) []byte { return []byte("[" + string(b) + "]") },
	func(_ *rand.Rand, b []byte) []byte { return fmt.Appendf(nil, "%q", b) },
	func(_ *rand.Rand, b []byte) []byte { return []byte("payload=" + string(b)) },
	func(_ *rand.Rand, b []byte) []byte { // UTF-16
		wide := []byte{0xff, 0xfe}
		for _, c := range b {
			wide = append(wide, c, 0)
		}
		return wide
	},
	func(_ *rand.Rand, b []byte) []byte {
		return bytes.Replace(b, []byte("Notification"), []byte("SubscriptionConfirmation"), 1)
	},
	func(_ *rand.Rand, b []byte) []byte {
		return bytes.Replace(b, []byte("Notification"), []byte("UnsubscribeConfirmation"), 1)
	},
	func(_ *rand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"`), []byte("'")) },
	func(_ *rand.Rand, b []byte) []byte { return bytes.ToUpper(b) },
	func(_ *rand.Rand, b []byte) []byte {
		return bytes.Replace(b, []byte("arn:aws:sns"), []byte("arn:aws:sqs"), 1)
	},
}

// spoiledHeader is what such a body comes with.
func spoiledHeader(r *rand.Rand) http.Header {
	h := http.Header{}
	set := func(name string, values ...string) {
		if v := values[r.IntN(len(values))]; v != "" {
			h.Set(name, v)
		}
	}
	set("Content-Type", "", "text/plain; charset=UTF-8", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "image/png;;;", "\t")
	set("X-Amz-Sns-Message-Type", "", "", "Notification", "SubscriptionConfirmation", "x")
	set("X-Amz-Sns-Message-Id", "", "", "", "00000000-0000-0000-0000-000000000000", strings.Repeat("y", 5000))
	set("X-Amz-Sns-Topic-Arn", "", "", "", corastonetest.Topic, "arn:aws:sns:us-east-1:1:x")
	set("X-Amz-Sns-Rawdelivery", "", "", "", "true")
	return h
}

// Bodies that are no push are answered as the table says: nothing panics,
// nothing is kept that nobody signed, and memory comes back.
func TestMalformedBodiesAreAnsweredByTheTable(t *testing.T) {
	bodies := 1_000
	if long() {
		bodies = 10_000
	}
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	g := open(t, func(c *ingress.Config) {
		c.Journal = realJournal(t)
		c.Sources = []handlers.Source{corastoneSource(t, "one", signer)}
	})
	client := from(t, friend)
	client.Transport.(*http.Transport).DisableKeepAlives = false
	push := func(body []byte, header http.Header, chunked bool) (int, string) {
		var r io.Reader = bytes.NewReader(body)
		if chunked {
			r = io.MultiReader(r)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.addr+"/hooks/one", r)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		req.Header = header
		resp, err := client.Do(req)
		if err != nil {
			// Who is told that it is too large may be cut off while it sends.
			if len(body) <= ingress.DefaultMaxBody {
				t.Error(err)
			}
			return http.StatusRequestEntityTooLarge, ""
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(text)
	}

	good := signedBodies(t, signer, 64)
	signed := map[string]bool{} // what is answered to those
	for _, body := range good {
		status, answer := push(body, http.Header{}, false)
		if status != http.StatusOK {
			t.Fatalf("before it was spoiled, a push heard %d", status)
		}
		signed[answer] = true
	}

	before := heap()
	var mu sync.Mutex
	heard := map[int]int{}
	var workers sync.WaitGroup
	const clients = 8
	for w := range clients {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 20))
			for range bodies / clients {
				body := breaks[r.IntN(len(breaks))](r, good[r.IntN(len(good))])
				status, answer := push(body, spoiledHeader(r), r.IntN(4) == 0)
				mu.Lock()
				heard[status]++
				mu.Unlock()
				switch status {
				case http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge:
				case http.StatusOK:
					// Only what nobody signs was spoiled.
					if !signed[answer] {
						t.Errorf("was kept though nobody signed it: %.100q", body)
					}
				default:
					t.Errorf("status %d for %.100q", status, body)
				}
			}
		})
	}
	workers.Wait()
	client.CloseIdleConnections()
	after := heap()
	t.Logf("%d bodies: %v; heap %d KiB before, %d KiB after", bodies, heard, before>>10, after>>10)
	if g.count(t, "one", "unavailable") > 0 {
		t.Errorf("a fault of ours: %s", g.logs)
	}
	if after > before+32<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// heap returns what is in use and no garbage.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools give back what they hold at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
