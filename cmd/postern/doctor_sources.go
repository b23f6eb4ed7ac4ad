package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
)

// asks asks the API of the receiver, with the token of its data_dir if that can
// be read: off loopback it answers nobody else. It reports whether there was an
// answer.
func (d *doctor) asks(ctx context.Context, client *http.Client, url string, answer any) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	if token, err := os.ReadFile(filepath.Join(string(d.cfg.DataDir), opsTokenFile)); err == nil {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && json.UnmarshalRead(io.LimitReader(res.Body, 16<<20), answer) == nil
}

// subscriptions tells what somebody should do about a source's subscriptions.
func (d *doctor) subscriptions(source string) {
	if d.running == nil {
		return
	}
	for _, c := range concerns(d.running.sources) {
		switch {
		case c.source != source:
		case c.dead:
			d.fail("sources."+source, c.todo, "%s", c.text)
		default:
			d.warn("sources."+source, c.todo, "%s", c.text)
		}
	}
}

// probePatience is how long all that is asked of one platform may take.
const probePatience = time.Minute

// platforms asks the API of each source what it needs there, all at once.
func (d *doctor) platforms(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	found := make([][]handlers.Finding, len(d.cfg.Sources))
	var asking sync.WaitGroup
	for i, s := range d.cfg.Sources {
		if s.Opened.Probe != nil {
			asking.Go(func() { found[i] = s.Opened.Probe(ctx) })
		}
	}
	asking.Wait()
	for i, s := range d.cfg.Sources {
		for _, f := range found[i] {
			d.findings = append(d.findings, finding{
				Name: join(join("sources", s.Name), f.Setting), Status: string(f.Grade), Text: f.Text, Todo: f.Todo,
			})
		}
		d.polled(s.Name)
	}
}

// polled tells what the receiver says of the pollers of a source.
func (d *doctor) polled(source string) {
	if d.running == nil {
		return
	}
	for _, c := range wrongPollers(d.running.pollers) {
		if c.source != source {
			continue
		}
		if strings.Contains(c.todo, "postern doctor") {
			c.todo = "see what is said above of the API, and the receiver's log"
		}
		d.warn("sources."+source, c.todo, "%s", c.text)
	}
}
