package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/receiver/ops"
)

// running is what a receiver that runs says of itself.
type running struct {
	metrics map[string]float64 // by name and labels, as they are written
	ready   bool
	wrong   []string // lines of readyz that are not well
	sources []ops.Source
	pollers []ops.PollerStatus
}

// receiver asks the receiver how it is; nil if none answers.
func (d *doctor) receiver(ctx context.Context, address string) *running {
	base, trust, err := reach(d.cfg.Ops.Listen, d.cfg.Ops.TLS)
	if address != "" {
		base, trust = strings.TrimSuffix(address, "/"), nil
	} else if err != nil {
		d.fail("receiver", "", "can't be asked: %s", firstLine(err))
		return nil
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	r := &running{metrics: map[string]float64{}}
	ready, err := fetchText(ctx, client, base+"/readyz?verbose", http.StatusOK, http.StatusServiceUnavailable)
	if err == nil && !strings.Contains(ready, "readyz: ") {
		err = errors.New("what answers there is no postern")
	}
	var metrics string
	if err == nil {
		metrics, err = fetchText(ctx, client, base+"/metrics", http.StatusOK)
	}
	if err != nil {
		d.warn("receiver", "start it with `postern serve`, or name another with --ops", "does not run, as far as %s tells", base)
		return nil
	}
	for line := range strings.Lines(ready) {
		line = strings.TrimSpace(line)
		if wrong, ok := strings.CutPrefix(line, "[-]"); ok {
			r.wrong = append(r.wrong, wrong)
		}
		r.ready = r.ready || line == "readyz: ok"
	}
	lines := bufio.NewScanner(strings.NewReader(metrics))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				r.metrics[name] = f
			}
		}
	}
	var sources ops.SourceList
	if d.asks(ctx, client, base+"/api/v1/sources", &sources) {
		r.sources = sources.Sources
	}
	var pollers pollerList
	if d.asks(ctx, client, base+"/api/v1/pollers", &pollers) {
		r.pollers = pollers.Pollers
	}
	if r.ready {
		d.ok("receiver", "runs and accepts pushes")
	} else {
		d.fail("receiver", "see the lines below, and its log", "runs and accepts no pushes")
	}
	for _, wrong := range r.wrong {
		d.warn("receiver", "see its log", "%s", wrong)
	}
	if n := r.metrics["postern_journal_entries"]; n > 0 {
		oldest := d.now.Sub(time.Unix(int64(r.metrics["postern_journal_oldest_timestamp_seconds"]), 0)).Round(time.Second)
		if oldest > time.Minute {
			d.warn("receiver", "see whether NATS takes what is published", "%s wait in the journal to be published, the oldest since %s", strconv.Itoa(int(n))+" deliveries", oldest)
		}
	}
	return r
}

func fetchText(ctx context.Context, client *http.Client, url string, statuses ...int) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return "", err
	}
	for _, status := range statuses {
		if res.StatusCode == status {
			return string(body), nil
		}
	}
	return "", fmt.Errorf("%s answered %d", url, res.StatusCode)
}

const (
	// silentFor is how long a source may push nothing before that is worth a
	// look: nights and weekends are silent.
	silentFor = 72 * time.Hour
	// skewed is how far the platform's clock and ours may differ. Above
	// staleSkew pushes go to quarantine.
	skewed    = 30 * time.Second
	staleSkew = 5 * time.Minute
)

// lastPush tells when a source last pushed.
func (d *doctor) lastPush(source string) {
	if d.running == nil {
		return
	}
	name, labels := "sources."+source, fmt.Sprintf("{source=%q}", source)
	at := d.running.metrics["postern_push_last_received_timestamp_seconds"+labels]
	if at == 0 {
		d.warn(name, "see whether the platform's subscription is there and confirmed; `postern trigger` makes a push", "no push arrived since the receiver started")
		return
	}
	ago := d.now.Sub(time.Unix(int64(at), 0)).Round(time.Second)
	if ago > silentFor {
		d.warn(name, "see whether the platform's subscription is there still", "the last push arrived %s ago", ago)
	} else {
		d.ok(name, "the last push arrived %s ago", max(ago, 0))
	}
	if n := d.running.metrics[fmt.Sprintf("postern_deliveries_total{channel=\"push\",outcome=\"unverifiable\",source=%q}", source)]; n > 0 {
		d.warn(name, "see `postern rejected list`: a blank SigningCertURL can't be checked with signature: required, only with signature: pinned; else see whether outbound leads to sns.<region>.amazonaws.com",
			"since the receiver started, %d of the pushes that came could not be checked", int(n))
	}
	skew := time.Duration(d.running.metrics["postern_push_clock_skew_seconds"+labels] * float64(time.Second)).Round(time.Millisecond)
	switch {
	case skew.Abs() >= staleSkew:
		d.fail("clock", "correct the clock of this machine: chronyc tracking, or timedatectl", "it differs by %s from the one of %s: its pushes go to quarantine as stale", skew, source)
	case skew.Abs() > skewed:
		d.warn("clock", "correct the clock of this machine: chronyc tracking, or timedatectl", "it differs by %s from the one of %s", skew, source)
	}
}

// clock asks the system whether something keeps its clock right.
func (d *doctor) clock() {
	kept, known := clockIsKept()
	switch {
	case d.now.Year() < 2025:
		d.fail("clock", "set it", "it says %s", d.now.UTC().Format(time.RFC3339))
	case !known:
		d.ok("clock", "it says %s; whether something keeps it right can't be seen here", d.now.UTC().Format(time.RFC3339))
	case kept:
		d.ok("clock", "the system keeps it right")
	default:
		d.warn("clock", "run chrony or systemd-timesyncd: the age of pushes is judged by this clock", "nothing keeps it right, says the system")
	}
}

// nats looks at an external NATS. The embedded one is the receiver's, which
// tells of it in readyz.
func (d *doctor) nats(ctx context.Context) {
	if d.cfg.NATS.URL == "" {
		d.ok("nats", "embedded, and synced before anything is acknowledged")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b, err := d.bus(ctx)
	var reports []bus.StreamReport
	if err == nil {
		defer b.Close()
		reports, err = b.Streams(ctx)
	}
	if err != nil {
		d.fail("nats", "check nats.url, its credentials, and that the streams exist: the receiver creates them at its start", "%s", firstLine(err))
		return
	}
	d.ok("nats", "%s answers and has all streams", d.cfg.NATS.URL)
	d.sharedKeys(ctx, b)
	d.warn("nats", "see that `jetstream { sync_interval: always }` stands in the configuration of every server; until then nats.trim_after covers what a server forgets",
		"whether it syncs before it acknowledges can't be seen without its system account")
	for _, r := range reports {
		for _, line := range r.Drift {
			d.warn("streams", "change the stream with `nats stream edit`, or the configuration", "%s", line)
		}
		if r.MaxBytes > 0 && r.Refuses && r.Bytes*100/uint64(r.MaxBytes) >= 80 {
			d.warn("streams", "raise its max_bytes or shorten its retention: when it is full the journal fills, then pushes are answered 503",
				"%s is %d %% full", r.Name, r.Bytes*100/uint64(r.MaxBytes))
		}
	}
}

// sharedKeys looks whether our keys are those of the other receivers.
func (d *doctor) sharedKeys(ctx context.Context, b *bus.Bus) {
	recorded, revision, err := recordedKeys(ctx, b)
	switch {
	case err != nil:
		d.fail("keys", "the relay waits until that is right", "%s", firstLine(err))
		return
	case revision == 0:
		return // the first receiver that starts records its own
	}
	known, err := d.cfg.keyConfig(nil).List()
	if err != nil {
		return // keys has said it
	}
	var own sharedKeys
	opens := map[string]bool{}
	for _, k := range known {
		switch {
		case k.Where == "":
		case k.Use == "pseudonym":
			own.Pseudonym = k.Fingerprint
		default:
			opens[k.Fingerprint] = true
			if k.First {
				own.Seal = k.Fingerprint
			}
		}
	}
	if err := own.differ(recorded, func(fingerprint string) bool { return opens[fingerprint] }); err != nil {
		d.fail("keys", "until then pushes are accepted and wait in the journal", "%s", firstLine(err))
		return
	}
	d.ok("keys", "they are those of the other receivers on this NATS")
}

// bus connects to an external NATS.
func (d *doctor) bus(ctx context.Context) (*bus.Bus, error) {
	c, err := (&app{cfg: d.cfg}).busConfig()
	if err != nil {
		return nil, err
	}
	b, err := bus.Open(c)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for b.Epoch() == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s lets nobody in, or nobody is there", d.cfg.NATS.URL), b.Close())
		}
	}
	return b, nil
}
