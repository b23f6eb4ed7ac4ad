package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// triggerFlags are the flags of `postern trigger`.
type triggerFlags struct {
	source, key        string
	kind, status       string
	version            string
	url, from          string
	certificateAddress string
}

func triggerCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger -c FILE --source NAME --key FILE",
		Short: "Pushes a made-up notification to a running receiver",
		Long: `Makes up an entry, signs it with a key whose certificate the source pins, posts
it to the receiver as SNS would, once, and says what was answered and which
event to expect. Everything in it is made up anew each time; the method of a
process is posternTrigger.

It is a real push: the event is published like any other. The address that it
comes from must be on the source's allow-list.`,
		Example: `  postern trigger -c postern.yaml --source corastone --key test.key
  postern trigger -c postern.yaml --source corastone --key test.key --kind process --status failed`,
		Args: cobra.NoArgs,
	}
	var f triggerFlags
	paths := configFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "`name` of the source to push to")
	flags.StringVar(&f.key, "key", "", "PEM `file` with the RSA key to sign with")
	flags.StringVar(&f.kind, "kind", "process", "process, orchestration, error or job")
	flags.StringVar(&f.status, "status", "success", "status of a process or an orchestration")
	flags.StringVar(&f.version, "signature-version", "1", "1 (SHA-1) or 2 (SHA-256)")
	flags.StringVar(&f.url, "url", "", "`URL` to post to (default: the source's route at ingress.listen)")
	flags.StringVar(&f.from, "from", "", "local `address` to call from (default: the system's choice)")
	flags.StringVar(&f.certificateAddress, "cert-url", "", "SigningCertURL (default: blank)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		return f.run(cmd.Context(), p, cfg)
	}
	return cmd
}

func (f triggerFlags) run(ctx context.Context, p *process, cfg *Config) error {
	source, err := cfg.pushSource(f.source)
	if err != nil {
		return err
	}
	settings, ok := source.Settings.(*corastone.Settings)
	if !ok {
		return failf(exitUsage, "choose a source of the platform "+corastone.Name, "there is no signing for %s", source.Platform.Name)
	}
	if f.version != "1" && f.version != "2" {
		return failf(exitUsage, "use 1 or 2", "SNS knows no signature version %q", f.version)
	}
	signer, err := readSigner(f.key)
	if err != nil {
		return err
	}
	push, err := f.push(signer, settings)
	if err != nil {
		return err
	}
	target, client, err := f.caller(cfg, source)
	if err != nil {
		return err
	}
	status, body, err := post(ctx, client, target, push)
	if err != nil {
		return failf(exitUnavailable, "start it with `postern serve`, or name its address with --url", "no receiver answers at %s: %w", target, errors.Unwrap(err))
	}
	fmt.Fprintf(p.stdout, "%d %s\n", status, strings.TrimSpace(string(body)))
	if status != http.StatusOK {
		return failf(exitFailed, f.advice(status), "the push was not accepted")
	}
	return expect(p, source, push)
}

// push returns the made-up notification.
func (f triggerFlags) push(signer *corastonetest.Signer, s *corastone.Settings) (corastonetest.Push, error) {
	node := corastonetest.NewNode(signer, s.Push.Topics[0], rand.Uint64())
	node.Version = f.version
	var entry corastonetest.Entry
	switch f.kind {
	case "process":
		entry = node.Process("posternTrigger", f.status, node.AssetID())
	case "orchestration":
		entry = node.Orchestration(f.status, node.Process("posternTrigger", f.status))
	case "error":
		entry = node.Error("posternTrigger", http.MethodPost, "/postern-trigger")
	case "job":
		entry = node.Job("posternTrigger")
	default:
		return corastonetest.Push{}, failf(exitUsage, "use process, orchestration, error or job", "there is no kind %q", f.kind)
	}
	envelope := node.Notification(entry)
	envelope.SigningCertURL = f.certificateAddress
	envelope, err := signer.Sign(envelope)
	if err != nil {
		return corastonetest.Push{}, err
	}
	push := envelope.Push()
	if h := s.Push.Header; s.Push.Signature == corastone.SignatureHeader && h != nil && len(h.Secrets) > 0 {
		push.Header.Set(h.Name, h.Secrets[0].Value())
	}
	return push, nil
}

// caller returns where to post to, and who posts.
func (f triggerFlags) caller(cfg *Config, source *Source) (target string, client *http.Client, err error) {
	dialer := &net.Dialer{}
	if f.from != "" {
		from, err := netip.ParseAddr(f.from)
		if err != nil {
			return "", nil, failf(exitUsage, "write it like 127.0.0.1", "--from %q is no address", f.from)
		}
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true} // and no proxy
	target = f.url
	if target == "" {
		base, trust, err := reach(cfg.Ingress.Listen, cfg.Ingress.TLS)
		if err != nil {
			return "", nil, err
		}
		target, transport.TLSClientConfig = base+"/hooks/"+source.Name, trust
	} else if u, err := url.Parse(target); err != nil || u.Host == "" {
		return "", nil, failf(exitUsage, "write it like https://your.host/hooks/"+source.Name, "--url is no URL")
	}
	return target, &http.Client{
		Transport: transport, Timeout: 15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// reach returns the URL of a listener of this machine, and how to know it: by
// the certificate that is configured, whatever name it is issued to.
func reach(listen string, t *TLS) (base string, trust *tls.Config, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", nil, err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	address := net.JoinHostPort(host, port)
	if t == nil {
		return "http://" + address, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(string(t.Cert), string(t.Key))
	if err != nil {
		return "", nil, err
	}
	return "https://" + address, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // its very certificate is asked for below
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, pair.Certificate[0]) {
				return errors.New("who listens there shows another certificate than the configured one")
			}
			return nil
		},
	}, nil
}

func post(ctx context.Context, client *http.Client, target string, push corastonetest.Push) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(push.Body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = push.Header
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, body, err
}

// advice says what to do about an answer that is not 200.
func (f triggerFlags) advice(status int) string {
	switch status {
	case http.StatusForbidden:
		return "the caller's address must be in push.allow (see --from), and the key's certificate be one that the source believes; `postern verify` explains the latter"
	case http.StatusNotFound:
		return "check the name of the source, and that the receiver runs with this configuration"
	case http.StatusServiceUnavailable:
		return "see `curl .../readyz?verbose` on the ops listener, and the receiver's log"
	default:
		return "check that --url leads to a receiver"
	}
}

// expect says which messages the push becomes.
func expect(p *process, source *Source, push corastonetest.Push) error {
	out, err := source.normalize(handlers.Authentic{Role: corastone.RoleNotification, Sent: time.Now()}, push.Body, time.Now())
	if err != nil {
		return fmt.Errorf("the push was accepted, but becomes no event: %w", err)
	}
	for _, e := range out.Events {
		msgs, err := messagesOf(e)
		if err != nil {
			return err
		}
		for _, m := range msgs {
			fmt.Fprintf(p.stdout, "expect %s, id %s\n", m.Subject, m.ID)
		}
	}
	return nil
}
