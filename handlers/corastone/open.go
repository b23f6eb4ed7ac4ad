package corastone

import (
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
func open(name string, settings any, _ handlers.Means, now time.Time) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, fmt.Errorf("settings are %T, not those of %s", settings, Name)
	}
	if s.Push == nil {
		return handlers.Source{}, fmt.Errorf("%w: this version of %s only receives pushes; set push", handlers.ErrNoPush, Name)
	}
	push, warnings, err := s.Push.open(now)
	if err != nil {
		return handlers.Source{}, err
	}
	for _, section := range []struct {
		name string
		set  bool
	}{{"api", s.API != nil}, {"poll", s.Poll != nil}, {"follow_up", s.FollowUp != nil}, {"reconcile", s.Reconcile != nil}} {
		if section.set {
			warnings = append(warnings, section.name+" has no effect in this version: only pushes are received")
		}
	}
	return handlers.Source{Name: name, Platform: Name, Push: push, Warnings: warnings}, nil
}

func (p *Push) open(now time.Time) (*handlers.Push, []string, error) {
	problems := p.problems()
	allow, err := p.prefixes()
	problems = append(problems, err)
	pins, err := readPins(p.Certificates)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	out := &handlers.Push{
		Allow:   allow,
		Webhook: &webhook{topics: slices.Clone(p.Topics), keys: pins.keys, maxAge: p.MaxAge.Std()},
	}
	for _, pin := range pins.certificates {
		out.Certificates = append(out.Certificates, handlers.Certificate{Name: pin.name, NotAfter: pin.notAfter})
	}
	return out, append(p.warnings(), pins.warnings(now)...), nil
}

// problems lists what this version can't do and what leaves the gate open.
func (p *Push) problems() []error {
	var problems []error
	if p.Signature != SignaturePinned {
		problems = append(problems, fmt.Errorf("push.signature is %q, but this version verifies with pinned certificates only: "+
			"set signature: pinned, and in certificates the files of the SNS certificates that sign", string(p.Signature)))
	}
	if p.ClientCA.Path != "" {
		problems = append(problems, errors.New("push.client_ca: this version does not check client certificates; remove it, and have a proxy check them"))
	}
	if p.ConfirmSubscriptions {
		problems = append(problems, errors.New("push.confirm_subscriptions: this version confirms no subscriptions; set it to false, and confirm by hand when asked to"))
	}
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
	}{{"regions", len(p.Regions) > 0}, {"ca_bundle", p.CABundle.Path != ""}, {"header", p.Header != nil}} {
		if setting.set {
			warnings = append(warnings, "push."+setting.name+" has no effect with signature: pinned")
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
