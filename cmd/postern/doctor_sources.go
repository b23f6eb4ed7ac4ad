package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/receiver/ops"
)

// runningSources asks the receiver for its sources, with the token of its
// data_dir if that can be read: off loopback it answers nobody else. Without an
// answer there are none.
func (d *doctor) runningSources(ctx context.Context, client *http.Client, base string) []ops.Source {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/sources", nil)
	if err != nil {
		return nil
	}
	if token, err := os.ReadFile(filepath.Join(string(d.cfg.DataDir), opsTokenFile)); err == nil {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	res, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list ops.SourceList
	if res.StatusCode != http.StatusOK || json.UnmarshalRead(io.LimitReader(res.Body, 16<<20), &list) != nil {
		return nil
	}
	return list.Sources
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
