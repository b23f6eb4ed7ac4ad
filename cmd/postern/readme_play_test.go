package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// play lets scripts run the commands that README shows, against receivers that
// are set up as README's configuration says.
type play struct {
	t         *testing.T
	shown     []string
	config    string // README's
	cert, key string // of the ingress
	sns       *corastonetest.Signer
	outside   *outside // where Amazon is
	scenes    atomic.Uint32

	mu  sync.Mutex
	ran map[string]bool
}

// scene is what one script works with.
type scene struct {
	ingress, ops, broker string // addresses
	sns                  *corastonetest.Signer
	node                 *corastonetest.Node
	environ              []string
	running              []*started // the first one first
	concedus             *concedustest.Server
}

// started is a command that runs beside a script.
type started struct {
	name string
	out  *lines
	end  func() error // interrupts it
}

type sceneKey struct{}

// commands are what scripts have besides testscript's own commands.
func (p *play) commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"readme":   p.readme,  // runs a line of README to its end
		"start":    p.start,   // begins a line of README
		"ready":    ready,     // waits until the receiver takes and tells
		"seen":     watched,   // waits until all that was started shows something; pushes meanwhile
		"end":      end,       // interrupts what was started last
		"push":     push,      // pushes: event ID, confirmation, stale, unknown or forged, and how many
		"await":    await,     // repeats a command until its output matches
		"replace":  replaceIn, // changes a file
		"concedus": standIn,   // has a stand-in of Concedus, whose URL is $CONCEDUS: release or leave, and how many
	}
}

// setup makes a script's folder: ./postern, README's configuration and what it
// names, and other listeners by environment variables.
func (p *play) setup(env *testscript.Env) error {
	// Each script has a loopback address of its own, whose ports nobody else
	// takes between now and when the receiver listens.
	host := fmt.Sprintf("127.%d.%d.%d", 64+p.scenes.Add(1)%64, os.Getpid()>>8&255, os.Getpid()&255)
	s := &scene{sns: p.sns}
	for _, address := range []*string{&s.ingress, &s.ops, &s.broker} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			return err
		}
		*address = l.Addr().String()
		if err := l.Close(); err != nil {
			return err
		}
	}
	topic := regexp.MustCompile(`topics: \["([^"]+)"`).FindStringSubmatch(p.config)
	if topic == nil {
		return fmt.Errorf("README's configuration has no topic")
	}
	s.node = corastonetest.NewNode(p.sns, topic[1], uint64(p.scenes.Load()))
	env.Values[sceneKey{}] = s

	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(self, filepath.Join(env.WorkDir, "postern")); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"readme.yaml": p.config, "cert.pem": p.cert, "key.pem": p.key, "sns.pem": string(p.sns.Certificate()),
		"outside.pem": p.outside.ca,
	} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	env.Setenv("NO_COLOR", "1")
	env.Setenv(asPostern, "1")
	env.Setenv("POSTERN_INGRESS__LISTEN", s.ingress)
	env.Setenv("POSTERN_OPS__LISTEN", s.ops)
	env.Setenv("POSTERN_NATS__EMBEDDED__LISTEN", s.broker)
	env.Setenv("POSTERN_NATS__EMBEDDED__MAX_STORE", "1GiB")
	env.Setenv("POSTERN_JOURNAL__RESERVE", "1MiB")
	env.Setenv("POSTERN_OUTBOUND__PROXY", p.outside.proxy)
	env.Setenv("POSTERN_OUTBOUND__CA_FILE", filepath.Join(env.WorkDir, "outside.pem"))
	env.Setenv("POSTERN_SOURCES__CORASTONE__PUSH__ALLOW", "[127.0.0.1]")
	s.environ = env.Vars
	return nil
}

// curl does what the program of that name does: it prints what a URL answers.
func curl(w io.Writer, url string) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// natsSub does what nats sub does: it prints the subjects of what is published.
func natsSub(w io.Writer, broker, subject string) (end func() error, err error) {
	nc, err := nats.Connect("nats://" + broker)
	if err != nil {
		return nil, err
	}
	_, err = nc.Subscribe(subject, func(m *nats.Msg) { fmt.Fprintln(w, m.Subject) })
	return func() error { nc.Close(); return nil }, err
}

// line takes a line of README and returns it as it runs here.
func (p *play) line(ts *testscript.TestScript, words []string) []string {
	if !slices.Contains(p.shown, canonical(words)) {
		ts.Fatalf("README has no line: %s", canonical(words))
	}
	p.mu.Lock()
	p.ran[canonical(words)] = true
	p.mu.Unlock()
	here := strings.NewReplacer(
		"http://127.0.0.1:8081", "http://"+of(ts).ops,
		"/backup/", ts.Getenv("WORK")+"/backup/",
	)
	for i, w := range words {
		words[i] = here.Replace(w)
	}
	if rest, ok := strings.CutPrefix(canonical(words), "go run ./cmd/postern "); ok {
		words = append([]string{"./postern"}, strings.Fields(rest)...)
	}
	return words
}

func of(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

func (p *play) readme(ts *testscript.TestScript, neg bool, args []string) {
	words := p.line(ts, args)
	to := ""
	if i := slices.Index(words, ">"); i >= 0 && i == len(words)-2 {
		words, to = words[:i], words[i+1]
	}
	var err error
	if words[0] == "curl" {
		err = curl(ts.Stdout(), words[len(words)-1])
	} else {
		err = ts.Exec(words[0], words[1:]...)
	}
	switch {
	case err == nil && neg:
		ts.Fatalf("it succeeded")
	case err != nil && !neg:
		ts.Fatalf("it failed: %v", err)
	case to != "":
		ts.Check(os.WriteFile(ts.MkAbs(to), []byte(ts.ReadFile("stdout")), 0o600))
	}
}

func (p *play) start(ts *testscript.TestScript, _ bool, args []string) {
	words := p.line(ts, args)
	s := of(ts)
	run := &started{name: canonical(words), out: &lines{}}
	s.running = append(s.running, run)
	if words[0] == "nats" {
		var err error
		run.end, err = natsSub(run.out, s.broker, words[len(words)-1])
		ts.Check(err)
		return
	}
	cmd := exec.Command(ts.MkAbs(words[0]), words[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = s.environ
	cmd.Stdout, cmd.Stderr = run.out, run.out
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ts.Defer(func() {
		_ = cmd.Process.Kill() // unless it has ended
	})
	run.end = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("it did not end in time")
		}
	}
}

// until polls until ok, or fails with what the commands beside the script said.
func until(ts *testscript.TestScript, what string, ok func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			for _, run := range of(ts).running {
				ts.Logf("%s said:\n%s", run.name, run.out)
			}
			ts.Fatalf("did not happen in time: %s", what)
		case <-tick.C:
		}
	}
}

func ready(ts *testscript.TestScript, _ bool, _ []string) {
	until(ts, "the receiver takes and tells", func() bool {
		for _, path := range []string{"/readyz", "/api/v1/streams"} {
			res, err := http.Get("http://" + of(ts).ops + path)
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return false
			}
		}
		return true
	})
}

func watched(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	pattern := regexp.MustCompile(args[0])
	until(ts, "seen is "+args[0], func() bool {
		receives := false
		for _, run := range s.running {
			if strings.HasPrefix(run.name, "./postern serve") {
				receives = true
			} else if !pattern.MatchString(run.out.String()) {
				if receives { // who follows may just have begun
					ts.Check(s.push(s.node.Notification(s.node.Process("createInvestment", "success")), http.StatusOK))
				}
				return false
			}
		}
		return true
	})
}

func end(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	run := s.running[len(s.running)-1]
	s.running = s.running[:len(s.running)-1]
	if err := run.end(); err != nil {
		ts.Fatalf("%s: %v\n%s", run.name, err, run.out)
	}
}

func push(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	if args[0] == "event" {
		ts.Check(s.push(s.node.Notification(investment(args[1])), http.StatusOK))
		return
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range n {
		e := s.node.Notification(s.node.Process("createInvestment", "success"))
		status := http.StatusOK
		switch args[0] {
		case "stale":
			e.Timestamp = "2020-01-02T03:04:05.000Z"
		case "confirmation":
			e = s.node.Confirmation(corastonetest.TypeSubscriptionConfirmation)
		case "unknown":
			e = s.node.Notification(corastonetest.Text(`{"fund":{"fundId":"f-1"}}`))
		case "forged":
			status = http.StatusForbidden
		default:
			ts.Fatalf("there is no push of kind %q", args[0])
		}
		ts.Check(s.push(e, status))
	}
}

// push pushes an envelope, signed; one that is to be refused is changed after
// it is signed.
func (s *scene) push(e corastonetest.Envelope, want int) error {
	e, err := s.sns.Sign(e)
	if err != nil {
		return err
	}
	p := e.Push()
	if want == http.StatusForbidden {
		p.Body = bytes.Replace(p.Body, []byte("success"), []byte("failure"), 1)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	status, body, err := post(context.Background(), client, "https://"+s.ingress+"/hooks/corastone", p)
	if err == nil && status != want {
		err = fmt.Errorf("a push is answered %d, want %d: %s", status, want, body)
	}
	return err
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	until(ts, fmt.Sprintf("%q matches %s", args[1:], pattern), func() bool {
		_ = ts.Exec(args[1], args[2:]...) // whether it fails is not asked
		return pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func standIn(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	if s.concedus == nil {
		s.concedus = concedustest.New(nil)
		s.concedus.Agent("agent", "of concedus")
		server := httptest.NewServer(s.concedus)
		ts.Defer(server.Close)
		ts.Setenv("CONCEDUS", server.URL)
		const direct = "POSTERN_OUTBOUND__PROXY" // no proxy leads to it
		ts.Setenv(direct, "")
		s.environ = append(s.environ, direct+"=")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for i := range n {
		key := fmt.Sprintf("README-%d", i)
		switch args[0] {
		case "release":
			s.concedus.Release(concedustest.Contract{Key: key, Share: "100"})
		case "leave":
			s.concedus.Leave(key)
		default:
			ts.Fatalf("nothing of kind %q happens to contracts", args[0])
		}
	}
}

func replaceIn(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}
