package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/schemas"
)

func verifyCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify -c FILE --source NAME [ENVELOPE|-]",
		Short: "Explains what would become of a push, step by step",
		Long: `Reads the body of a push from a file or from stdin and has the source's
configuration judge it, as the receiver would: is it an envelope, is its topic
allowed, which certificate verifies it, how old is it, and which events does it
become. Nothing is stored or published. The caller's address is not looked at;
with signature: header the shared secret is taken as shown.

Exit code: 0 if it would be accepted and become what it is meant to, 1 if it
would be refused or go to quarantine.`,
		Example: `  postern verify -c postern.yaml --source corastone envelope.json
  postern verify -c postern.yaml --source corastone --show-string - < envelope.json`,
		Args: cobra.MaximumNArgs(1),
	}
	paths := configFlag(cmd)
	name := cmd.Flags().String("source", "", "`name` of the source that it is for")
	show := cmd.Flags().Bool("show-string", false, "print the string to sign")
	at := cmd.Flags().String("at", "", "judge as of this `time` (default: now)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		source, err := cfg.pushSource(*name)
		if err != nil {
			return err
		}
		v := &verdict{p: p, source: source, showString: *show, at: time.Now(), fetch: newFetch(cfg.Outbound)}
		if *at != "" {
			if v.at, err = time.Parse(time.RFC3339, *at); err != nil {
				return failf(exitUsage, "write it like 2026-01-31T12:00:00Z", "--at %q is no time", *at)
			}
		}
		if v.body, err = p.input(args); err != nil {
			return err
		}
		v.explain()
		if v.failed {
			return silent(exitFailed)
		}
		return nil
	}
	return cmd
}

// pushSource returns a source that receives.
func (cfg *Config) pushSource(name string) (*Source, error) {
	var names []string
	for _, s := range cfg.Sources {
		if s.Opened.Push == nil {
			continue
		}
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if name == "" {
		return nil, failf(exitUsage, "name it with --source: "+enumerate(names, "or"), "it isn't said which source this is about")
	}
	return nil, failf(exitNotFound, "there are: "+enumerate(names, "and"), "no source %q receives pushes", name)
}

// verdict judges a body as the receiver would and tells each step.
type verdict struct {
	p          *process
	source     *Source
	body       []byte
	at         time.Time
	showString bool
	failed     bool

	fetch   handlers.Fetch
	fetched atomic.Pointer[[]byte] // the certificate that was fetched last
}

func (v *verdict) say(word, name, format string, args ...any) {
	fmt.Fprintf(v.p.stdout, "%-5s %-12s %s\n", word, name, fmt.Sprintf(format, args...))
}

func (v *verdict) ok(name, format string, args ...any)   { v.say("ok", name, format, args...) }
func (v *verdict) note(name, format string, args ...any) { v.say("-", name, format, args...) }

func (v *verdict) fail(name, format string, args ...any) {
	v.failed = true
	v.say("fail", name, format, args...)
}

func (v *verdict) explain() {
	request := handlers.Request{Header: http.Header{}, Body: v.body, Received: v.at}
	settings, known := v.source.Settings.(*corastone.Settings)
	if known {
		v.knowSecret(settings, request.Header)
	}
	authentic, err := v.webhook().Authenticate(request)
	switch {
	case known && !v.envelope(settings, request, err), !known && err != nil:
		v.refused(err)
		return
	}
	stale := v.age(authentic)
	events := v.events(authentic)
	switch {
	case stale:
		v.say("", "so", "answered 200 and kept in quarantine as stale")
	case events != "":
		v.say("", "so", "answered 200 and kept in quarantine as %s", events)
	default:
		v.say("", "so", "answered 200 and published")
	}
}

// webhook returns the source's webhook, opened such that v hears what it
// fetches.
func (v *verdict) webhook() handlers.Webhook {
	opened, err := v.source.Platform.Open(v.source.Name, v.source.Settings, handlers.Means{
		Roots: systemRoots(),
		Fetch: func(ctx context.Context, url string) ([]byte, error) {
			data, err := v.fetch(ctx, url)
			if err == nil {
				v.fetched.Store(&data)
			}
			return data, err
		},
	})
	if err != nil || opened.Push == nil { // it could be opened before
		return v.source.Opened.Push.Webhook
	}
	return opened.Push.Webhook
}

// refused tells what the caller is answered.
func (v *verdict) refused(err error) {
	var refused *handlers.RefusedError
	if errors.As(err, &refused) {
		v.fail(string(refused.Reason), "%s", refused.Detail)
		v.say("", "so", "answered 403, and nothing is kept of it but in postern rejected")
		return
	}
	v.fail("check", "%s", err)
	v.say("", "so", "answered 503, so that the sender comes again")
}

// knowSecret has the caller know the shared secret.
func (v *verdict) knowSecret(s *corastone.Settings, h http.Header) {
	if s.Push.Signature == corastone.SignatureHeader && s.Push.Header != nil && len(s.Push.Header.Secrets) > 0 {
		h.Set(s.Push.Header.Name, s.Push.Header.Secrets[0].Value())
		v.note("header", "%s is taken as shown with the right secret", s.Push.Header.Name)
	}
}

// envelope tells what was found in an envelope, up to the step at which err
// ended the check. It reports whether none did.
func (v *verdict) envelope(s *corastone.Settings, r handlers.Request, err error) bool {
	e, problem := corastone.ReadEnvelope(v.body)
	if problem != nil {
		if err == nil {
			v.ok("envelope", "none: taken for a bare entry, which signature: %s allows", s.Push.Signature)
		}
		return err == nil
	}
	v.ok("envelope", "%d bytes, MessageId %s", len(v.body), e.MessageID)
	v.ok("type", "%s", e.Type)
	if reason(err) == handlers.ReasonTopic {
		v.note("topic", "%s", e.TopicARN)
		return false
	}
	v.ok("topic", "%s", e.TopicARN)
	v.note("version", "SignatureVersion %s, Timestamp %s", e.SignatureVersion, e.Timestamp)
	if v.showString {
		for line := range strings.Lines(string(e.Signed)) {
			v.note("to sign", "%s", strings.TrimSuffix(line, "\n"))
		}
	}
	switch s.Push.Signature {
	case corastone.SignaturePinned:
		v.pinned(s, r)
	case corastone.SignatureRequired:
		v.named(e.SigningCertURL)
	}
	if err == nil {
		v.ok("signature", "%s", map[corastone.Signature]string{
			corastone.SignaturePinned:   "a pinned certificate verifies it",
			corastone.SignatureRequired: "the certificate that it names verifies it, and a trusted root stands behind that",
			corastone.SignatureHeader:   "not looked at: the shared secret counts",
			corastone.SignatureOff:      "not looked at: signature is off",
		}[s.Push.Signature])
	}
	return err == nil
}

func reason(err error) handlers.Reason {
	var refused *handlers.RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// named tells which certificate the envelope names.
func (v *verdict) named(url string) {
	if url == "" {
		return // which is why it can't be checked
	}
	v.note("certificate", "%s", url)
	data := v.fetched.Load()
	if data == nil {
		return
	}
	if block, _ := pem.Decode(*data); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			v.note("certificate", "fetched, %s, issued to %s by %s", describe(cert, v.at), enumerate(cert.DNSNames, "and"), cert.Issuer.CommonName)
		}
	}
}

// pinned tells of each pinned certificate whether it, alone, would do.
func (v *verdict) pinned(s *corastone.Settings, r handlers.Request) {
	for _, file := range s.Push.Certificates {
		for _, contents := range file.Contents {
			for rest := contents.Data; ; {
				var block *pem.Block
				if block, rest = pem.Decode(rest); block == nil {
					break
				}
				cert, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					continue // the source would not have opened
				}
				about := contents.Path + ", " + describe(cert, v.at)
				if v.alone(s, handlers.Contents{Path: contents.Path, Data: pem.EncodeToMemory(block)}, r) {
					v.ok("certificate", "%s: verifies it", about)
				} else {
					v.note("certificate", "%s: does not verify it", about)
				}
			}
		}
	}
}

// alone reports whether the source would believe r with one certificate only.
func (v *verdict) alone(s *corastone.Settings, certificate handlers.Contents, r handlers.Request) bool {
	settings, push := *s, *s.Push
	push.Certificates = []handlers.File{{Path: certificate.Path, Contents: []handlers.Contents{certificate}}}
	settings.Push = &push
	opened, err := v.source.Platform.Open(v.source.Name, &settings, handlers.Means{})
	if err != nil {
		return false
	}
	_, err = opened.Push.Webhook.Authenticate(r)
	return err == nil
}

// describe names a certificate so that it can be compared.
func describe(cert *x509.Certificate, at time.Time) string {
	sum := sha256.Sum256(cert.Raw)
	text := fmt.Sprintf("sha256 %s, good from %s to %s", hex.EncodeToString(sum[:8]),
		cert.NotBefore.UTC().Format(time.DateOnly), cert.NotAfter.UTC().Format(time.DateOnly))
	if at.After(cert.NotAfter) {
		text += " (past its date)"
	}
	return text
}

// age tells how old the push is and reports whether that is too much.
func (v *verdict) age(a handlers.Authentic) bool {
	text := "it does not say when it was sent"
	if !a.Sent.IsZero() {
		age := v.at.Sub(a.Sent).Round(time.Second)
		text = "sent " + age.String() + " ago"
		if age < 0 {
			text = "sent " + (-age).String() + " ahead of our clock"
		}
	}
	if a.Stale {
		v.fail("age", "%s: too old, too far ahead, or no time at all", text)
	} else {
		v.ok("age", "%s", text)
	}
	return a.Stale
}

// events tells what the push becomes; if it can't become events, it returns
// the reason.
func (v *verdict) events(a handlers.Authentic) schemas.Reason {
	out, err := v.source.normalize(a, v.body, v.at)
	var unusable *handlers.UnusableError
	switch {
	case errors.As(err, &unusable):
		v.fail("events", "%s: %s", unusable.Reason, unusable.Detail)
		return unusable.Reason
	case err != nil:
		v.fail("events", "%s", err)
		return schemas.ReasonInvalidEvent
	}
	for _, e := range out.Events {
		msgs, err := messagesOf(e)
		if err != nil {
			v.fail("event", "%s", err)
			return schemas.ReasonInvalidEvent
		}
		for _, m := range msgs {
			v.ok("event", "%s, id %s", m.Subject, m.ID)
		}
	}
	for _, d := range out.Drift {
		v.note("unknown", "%s is not in the vocabulary and is passed on", d.Path)
	}
	return ""
}

// normalize translates what s authenticated.
func (s *Source) normalize(a handlers.Authentic, body []byte, at time.Time) (handlers.Output, error) {
	return s.Platform.Normalize(handlers.Delivery{
		ID: "not-delivered", Source: s.Name, Platform: s.Platform.Name, Channel: schemas.ChannelPush,
		Role: a.Role, Received: at, Sent: a.Sent, Stale: a.Stale, Payload: body,
	})
}
