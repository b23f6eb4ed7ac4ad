package corastone

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// topicARN is the shape of an SNS topic's ARN. A topic with a slip in it would
// refuse every push.
var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]+$`)

// open makes a source of settings. It reports everything that is wrong with
// them at once.
func open(name string, settings any, means handlers.Means, now time.Time) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, fmt.Errorf("settings are %T, not those of %s", settings, Name)
	}
	if s.Push == nil {
		return handlers.Source{}, fmt.Errorf("%w: %s needs push: polling only repairs and explains it", handlers.ErrNoPush, Name)
	}
	push, warnings, err := s.Push.open(means, now)
	if err != nil {
		return handlers.Source{}, err
	}
	source := handlers.Source{Name: name, Platform: Name, Push: push}
	more, err := s.openAPI(&source, means)
	if err != nil {
		return handlers.Source{}, err
	}
	source.Warnings = append(warnings, more...)
	return source, nil
}

func (p *Push) open(means handlers.Means, now time.Time) (*handlers.Push, []string, error) {
	problems := p.problems()
	allow, err := p.prefixes()
	problems = append(problems, err)
	hook := &webhook{topics: slices.Clone(p.Topics), maxAge: p.MaxAge.Std()}
	out := &handlers.Push{Allow: allow, Webhook: hook, Signature: string(p.Signature), Topics: hook.topics}
	warnings := p.warnings()
	more, err := p.authenticate(hook, out, means, now)
	warnings, problems = append(warnings, more...), append(problems, err)
	more, err = p.clients(out, now)
	warnings, problems = append(warnings, more...), append(problems, err, p.confirmations(out, means))
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	return out, warnings, nil
}

// authenticate has hook authenticate pushes as p.Signature says, and adds to
// out the certificates that this depends on.
func (p *Push) authenticate(hook *webhook, out *handlers.Push, means handlers.Means, now time.Time) (warnings []string, err error) {
	switch p.Signature {
	case SignatureRequired:
		bundle, certificates, err := p.fetched(means)
		if err != nil {
			return nil, err
		}
		hook.verify = certificates.verify
		out.Certificates = append(out.Certificates, expiry(bundle)...)
		return ending("push.ca_bundle", bundle, now,
			"no push is verified with it any more; add the one that followed it",
			"add the one that follows it"), nil
	case SignaturePinned:
		pins, certificates, err := readPins(p.Certificates)
		if err != nil {
			return nil, err
		}
		hook.verify = pins.verify
		out.Certificates = append(out.Certificates, expiry(certificates)...)
		return ending("push.certificates", certificates, now,
			"it still verifies, but ask for the one that followed it",
			"ask for the one that follows it"), nil
	case SignatureHeader:
		secret, warnings, err := readHeader(p.Header)
		hook.secret = secret
		return warnings, err
	case SignatureOff:
		return []string{"push.signature is off: whoever calls from an allowed address is believed"}, nil
	default:
		return nil, fmt.Errorf("push.signature is %q, which is none of required, pinned, header and off", string(p.Signature))
	}
}

// clients adds to out who issues callers' TLS certificates, if they need one.
func (p *Push) clients(out *handlers.Push, now time.Time) (warnings []string, err error) {
	if p.ClientCA.Path == "" {
		return nil, nil
	}
	issuers, err := readCertificates("push.client_ca", []handlers.File{p.ClientCA}, func(*x509.Certificate) error { return nil })
	if err != nil {
		return nil, err
	}
	for _, c := range issuers {
		out.ClientCAs = append(out.ClientCAs, c.Certificate)
	}
	out.Certificates = append(out.Certificates, expiry(issuers)...)
	return ending("push.client_ca", issuers, now,
		"callers with a certificate of it are refused; add the one that followed it",
		"add the one that follows it"), nil
}

// fetched prepares that certificates are fetched.
func (p *Push) fetched(means handlers.Means) ([]named, *certificates, error) {
	origins, err := p.origins()
	problems := []error{err}
	var bundle []named
	if p.CABundle.Path != "" {
		bundle, err = readCertificates("push.ca_bundle", []handlers.File{p.CABundle}, issues)
		problems = append(problems, err)
	}
	if means.Fetch == nil {
		problems = append(problems, errors.New("push.signature is required, but there is no way to fetch certificates here"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	return bundle, newCertificates(means.Fetch, origins, newAuthorities(means.Roots, bundle)), nil
}

// origins says where the certificates of each topic come from.
func (p *Push) origins() (map[string]origin, error) {
	if len(p.Regions) == 0 {
		return nil, errors.New("push.regions is empty: with signature: required it names the AWS regions of the topics, like us-east-1")
	}
	var problems []error
	regions := map[string]origin{}
	for i, region := range p.Regions {
		o, ok := originOf(region)
		if !ok {
			problems = append(problems, fmt.Errorf("push.regions[%d] is not an AWS region whose certificates are known, like us-east-1", i))
		}
		regions[region] = o
	}
	topics := map[string]origin{}
	for i, topic := range p.Topics {
		if !topicARN.MatchString(topic) {
			continue // which is told already
		}
		o, ok := regions[regionOf(topic)]
		if !ok {
			problems = append(problems, fmt.Errorf("push.topics[%d] is in a region that push.regions does not name", i))
		}
		topics[topic] = o
	}
	return topics, errors.Join(problems...)
}

// problems lists what this version can't do and what leaves the gate open.
func (p *Push) problems() []error {
	var problems []error
	if len(p.Topics) == 0 {
		problems = append(problems, errors.New("push.topics is empty: name the ARN of every SNS topic that is yours"))
	}
	for i, topic := range p.Topics {
		if !topicARN.MatchString(topic) {
			problems = append(problems, fmt.Errorf(`push.topics[%d] is not the ARN of an SNS topic, like "arn:aws:sns:us-east-1:123456789012:name"`, i))
		}
	}
	if age := p.MaxAge.Std(); age <= 0 || age > maxAge {
		problems = append(problems, errors.New("push.max_age must be above 0 and at most 30d: what came is remembered for 31 days, and a repeat must be recognised"))
	}
	return problems
}

func (p *Push) prefixes() ([]netip.Prefix, error) {
	if len(p.Allow) == 0 {
		return nil, errors.New("push.allow is empty: name the addresses that may push")
	}
	prefixes := make([]netip.Prefix, 0, len(p.Allow))
	for i, prefix := range p.Allow {
		if !prefix.IsValid() {
			return nil, fmt.Errorf("push.allow[%d] is neither an address nor a CIDR", i)
		}
		prefixes = append(prefixes, prefix.Prefix)
	}
	return prefixes, nil
}

// warnings lists settings that are read and then not used.
func (p *Push) warnings() []string {
	var warnings []string
	for _, setting := range []struct {
		name string
		set  bool
		with Signature
	}{
		{"regions", len(p.Regions) > 0, SignatureRequired},
		{"ca_bundle", p.CABundle.Path != "", SignatureRequired},
		{"certificates", len(p.Certificates) > 0, SignaturePinned},
		{"header", p.Header != nil, SignatureHeader},
	} {
		if setting.set && p.Signature != setting.with {
			warnings = append(warnings, fmt.Sprintf("push.%s has no effect with signature: %s", setting.name, p.Signature))
		}
	}
	for _, prefix := range p.Allow {
		if prefix.Bits() == 0 {
			warnings = append(warnings, "push.allow lets every address call")
			break
		}
	}
	return warnings
}
