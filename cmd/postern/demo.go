package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/schemas"
)

// The pace of the demo: a newcomer should see everything within ten seconds.
const (
	demoPause = 500 * time.Millisecond
	demoRest  = 20 * time.Second
)

func demoCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Shows the flows of all platforms, without configuration or network",
		Long: `Runs a receiver with an embedded NATS and stand-ins of all platforms, all on
loopback: Corastone's pushes to it and is asked what that means, and it polls
those of Concedus, Tokeny and CAS.
Stdout has a line per message that is published, "<time> <subject>"; stderr says
what is pushed and what it becomes, and what happens at those that are polled.

It uses the usual ports, and free ones where those are taken. It ends with
Ctrl-C or after --for.`,
		Example: `  postern demo
  postern demo --for 10s
  postern demo --data ./demo-data   # keep what it makes, to look at it`,
		Args: cobra.NoArgs,
	}
	period := handlers.Duration(0)
	cmd.Flags().Var(durationFlag{&period}, "for", "end after this `time` (default: run until interrupted)")
	dir := cmd.Flags().String("data", "", "keep data in this `folder` (default: a temporary one that is removed)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if cmd.Flags().Changed("for") {
			if period == 0 {
				return failf(exitUsage, "leave it out to run until interrupted", "--for must be longer than 0")
			}
			// As Ctrl-C does, and not a deadline, by which pollers would plan.
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer time.AfterFunc(period.Std(), cancel).Stop()
		}
		if *dir != "" {
			return runDemo(ctx, p, *dir)
		}
		temporary, err := os.MkdirTemp("", "postern-demo-")
		if err != nil {
			return err
		}
		return errors.Join(runDemo(ctx, p, temporary), os.RemoveAll(temporary))
	}
	return cmd
}

// durationFlag reads a flag as the configuration reads durations.
type durationFlag struct{ *handlers.Duration }

// Set implements pflag.Value.
func (d durationFlag) Set(s string) error { return d.UnmarshalText([]byte(s)) }

// Type implements pflag.Value.
func (durationFlag) Type() string { return "duration" }

// String implements pflag.Value.
func (d durationFlag) String() string {
	if d.Duration == nil || *d.Duration == 0 {
		return ""
	}
	return d.Std().String()
}

// runDemo runs the receiver and the stand-ins until ctx ends.
func runDemo(ctx context.Context, p *process, dir string) (err error) {
	signer, err := corastonetest.NewSigner()
	if err != nil {
		return err
	}
	began := time.Now()
	polled, err := newDemoPlatforms()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, polled.close()) }()
	file, err := writeDemoConfig(dir, signer, polled)
	if err != nil {
		return err
	}
	// What a shell has set for the real receiver must not lead the demo to its
	// data.
	alone := *p
	alone.environ = nil
	alone.platforms = reaching(&corastonetest.CertificateHost{}, p.platforms)
	cfg, err := alone.load([]string{file})
	if err != nil {
		return err
	}
	// What the demo provokes on purpose would read like trouble.
	log := newLogger(p.stderr, slog.LevelError, true, isTerminal(p.stderr) && environment(p.environ)["NO_COLOR"] == "")
	app, err := openApp(cfg, p.platforms, log, rereading{load: func() (*Config, error) { return alone.load([]string{file}) }})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return app.run(ctx) })
	g.Go(func() error {
		select {
		case <-app.opened:
		case <-ctx.Done():
			return nil
		}
		if err := app.bus.Load().Prepare(ctx); err != nil {
			return err
		}
		select {
		case <-app.subscriptions.caughtUp: // what is asked to be confirmed is confirmed at once
		case <-ctx.Done():
			return nil
		}
		p.welcome(app, file)
		return demo{p, app, signer, polled, began}.run(ctx)
	})
	return g.Wait()
}

// reaching returns platforms whose way to Amazon leads to a stand-in.
func reaching(sns *corastonetest.CertificateHost, platforms []handlers.Platform) []handlers.Platform {
	list := slices.Clone(platforms)
	for i, p := range platforms {
		list[i].Open = func(name string, settings any, means handlers.Means) (handlers.Source, error) {
			means.Fetch = sns.Fetch
			return p.Open(name, settings, means)
		}
	}
	return list
}

// welcome says what runs and what to try.
func (p *process) welcome(a *app, file string) {
	fmt.Fprintf(p.stderr, `
Postern runs, with a stand-in of Corastone that pushes to it and is asked what
that means, and stand-ins of Concedus, Tokeny and CAS Access Controls that it
polls.

  pushes    http://%[1]s/hooks/corastone
  metrics   http://%[2]s/metrics
  health    http://%[2]s/readyz?verbose
  schemas   http://%[2]s/schemas/
  NATS      nats://%[3]s   (who is not a user may read POSTERN_EVENTS)
  config    %[4]s

Try in another terminal:

  postern tail --ops http://%[2]s --last 5 -o json
  postern pollers list --ops http://%[2]s
  curl 'http://%[2]s/readyz?verbose'
  curl -i http://%[1]s/hooks/corastone -d 'let me in'
  nats -s nats://%[3]s sub 'postern.events.>'

Below, what is pushed stands behind "-->", what happens where somebody has to
look behind "~~>", and what is published in the lines with a subject. Ctrl-C ends
it.

`, a.ingressAddr, a.opsAddr, a.bus.Load().Addr(), file)
}

// demo drives the stand-ins and shows what becomes of what they say.
type demo struct {
	p      *process
	app    *app
	signer *corastonetest.Signer
	polled *demoPlatforms
	began  time.Time
}

func (d demo) run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	for _, stream := range []schemas.Stream{schemas.StreamEvents, schemas.StreamQuarantine, schemas.StreamOps} {
		g.Go(func() error { return d.show(running, stream) })
	}
	g.Go(func() error { return d.push(running) })
	g.Go(func() error { return d.happen(running) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// show prints a line for every message that comes to a stream.
func (d demo) show(ctx context.Context, stream schemas.Stream) error {
	return d.app.bus.Load().Tail(ctx, bus.TailOptions{Stream: stream, Since: d.began, Follow: true}, func(m bus.TailMessage) error {
		_, err := fmt.Fprintf(d.p.stdout, "%s %s\n", schemas.FormatTime(m.Time), m.Subject)
		return err
	})
}

// writeDemoConfig makes a configuration, and the certificate that it pins.
func writeDemoConfig(dir string, signer *corastonetest.Signer, polled *demoPlatforms) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "demo.yaml")
	if old, err := os.ReadFile(file); err == nil && !strings.HasPrefix(string(old), demoMark) {
		return "", failf(exitUsage, "name another folder with --data", "%s was not made by the demo", file)
	}
	for name, data := range map[string][]byte{"demo-sns.pem": signer.Certificate(), "demo-client.secret": []byte(corastonetest.ClientSecret)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	sources, err := polled.config(dir)
	if err != nil {
		return "", err
	}
	text := strings.NewReplacer(
		"INGRESS", freeAddress("127.0.0.1:8080"),
		"OPS", freeAddress("127.0.0.1:8081"),
		"NATS", freeAddress("127.0.0.1:4222"),
		"TOPIC", corastonetest.Topic, "LEDGER", polled.urls[3],
		"ORGID", corastonetest.OurOrg, "CLIENT", corastonetest.ClientID,
	).Replace(demoConfig) + sources
	return file, os.WriteFile(file, []byte(text), 0o600)
}

const demoMark = "# Made by postern demo.\n"

const demoConfig = demoMark + `data_dir: demo-data
ingress: {listen: "INGRESS"}
ops: {listen: "OPS"}
nats: {embedded: {listen: "NATS", max_store: 256MiB}}
journal: {max_bytes: 64MiB, reserve: 16MiB}
sources:
  corastone:
    platform: corastone
    push:
      allow: [127.0.0.0/8]
      topics: ["TOPIC"]
      signature: pinned
      certificates: [demo-sns.pem]
      confirm_subscriptions: true
    api: {url: "LEDGER", org_id: ORGID, client_id: CLIENT, client_secret: {file: demo-client.secret}}
    poll: {interval: 2s, overlap: 1m}
`

// freeAddress returns address if nobody listens there, else the same host with
// a port that the system chooses.
func freeAddress(address string) string {
	if l, err := net.Listen("tcp", address); err == nil {
		_ = l.Close() // it was only asked whether it can be had
		return address
	}
	host, _, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, "0")
}
