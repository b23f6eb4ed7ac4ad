package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
)

// externalConfig has a receiver use a NATS server that others run.
func externalConfig(r *receiver, url string) {
	r.write("seal.key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	r.write("pseudonym.key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	r.write("more.yaml", `
nats: {url: "`+url+`", embedded: {max_store: 128MiB}}
seal: {keys: [{file: seal.key}]}
pseudonyms: {key: {file: pseudonym.key}}
`)
}

func TestBrokerAwayLosesNothingWhilePushesAreAccepted(t *testing.T) {
	away := 2 * time.Second
	if long() {
		away = time.Minute
	}
	server := bustest.NewExternal(t)
	r := newReceiver(t, "")
	// The embedded listener of the common configuration has no place here.
	r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "")
	externalConfig(r, server.URL())
	r.start()
	node := nodeOf(t, 5)
	pushes := 0
	push := func() {
		t.Helper()
		if status, _ := r.pushed(signed(t, node.Notification(investment(fmt.Sprintf("p%d", pushes))))); status != http.StatusOK {
			t.Fatalf("push %d was answered %d", pushes, status)
		}
		pushes++
	}
	push()
	r.relayed("published", 1)
	server.Stop()
	for back := time.Now().Add(away); time.Now().Before(back); {
		push()
	}
	if status := get(t, r.ops+"/readyz"); status != http.StatusOK {
		t.Errorf("without a broker /readyz says %d, and could accept", status)
	}
	server.Start()
	r.relayed("published", pushes)

	c := subscribe(t, connect(t, server.URL()))
	told := map[string]int{}
	eventually(t, "every accepted push is told", func() bool {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			told[m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]]++
		}
		return len(told) >= pushes
	})
	for id, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	t.Logf("%d pushes were accepted while the broker was away", pushes-1)
}

// edit replaces text of the configuration.
func (r *receiver) edit(from, to string) {
	r.t.Helper()
	text := readFile(r.t, r.file)
	if !strings.Contains(text, from) {
		r.t.Fatalf("the configuration has no %q", from)
	}
	r.write("postern.yaml", strings.Replace(text, from, to, 1))
}

// get returns the status that a URL is answered with.
func get(t testing.TB, url string) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
