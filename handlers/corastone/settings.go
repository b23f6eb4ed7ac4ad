package corastone

import "github.com/seed75441868/postern/handlers"

// Settings is the configuration of a source. Without api nothing is asked, and
// poll, follow_up and reconcile have no effect. The doc tags describe the
// settings to users.
type Settings struct {
	Push      *Push      `yaml:"push" doc:"What Corastone may push, and how it is checked."`
	API       *API       `yaml:"api" doc:"Corastone's Integration API."`
	Poll      *Poll      `yaml:"poll" doc:"How the Sequencer is read."`
	FollowUp  *FollowUp  `yaml:"follow_up" doc:"Whether details are asked for when a process ended."`
	Reconcile *Reconcile `yaml:"reconcile" doc:"How often the platform and the bus are compared."`
}

// Push says who may push, and how it is checked.
type Push struct {
	Allow                []handlers.Prefix `yaml:"allow" validate:"required,min=1" doc:"Addresses or CIDRs that may push: Org Static IP 1 and 2 of the onboarding."`
	Topics               []string          `yaml:"topics" validate:"required,min=1,unique,dive,required,max=512" doc:"ARNs of the SNS topics that are yours."`
	Signature            Signature         `yaml:"signature" validate:"oneof=required pinned header off" insecure:"off" doc:"What verifies a push: required (the certificate that it names, fetched), pinned (certificates), header (a shared secret), or off (nothing, for tests)."`
	Regions              []string          `yaml:"regions" validate:"dive,required" doc:"AWS regions of the topics, whose hosts certificates are fetched from; for signature: required."`
	CABundle             handlers.File     `yaml:"ca_bundle" doc:"A file or folder of more roots and intermediates; for signature: required."`
	Certificates         []handlers.File   `yaml:"certificates" doc:"Files or folders of the certificates that sign, and no others, whatever SigningCertURL says; for signature: pinned."`
	Header               *Header           `yaml:"header" doc:"A header with a shared secret; for signature: header."`
	ClientCA             handlers.File     `yaml:"client_ca" doc:"Who issues the TLS certificates that callers must show; needs ingress.tls."`
	ConfirmSubscriptions bool              `yaml:"confirm_subscriptions" doc:"Confirm a subscription by itself; else postern sources confirm does it."`
	MaxAge               handlers.Duration `yaml:"max_age" validate:"gt=0" doc:"Age from which a push is put into quarantine; at most 30d."`
}

// Signature says what verifies an envelope.
type Signature string

// The ways to verify an envelope.
const (
	SignatureRequired Signature = "required" // the certificate that SigningCertURL names, fetched
	SignaturePinned   Signature = "pinned"   // the configured certificates, whatever SigningCertURL says
	SignatureHeader   Signature = "header"   // a shared secret in a header; bare entries too
	SignatureOff      Signature = "off"      // nothing; bare entries too
)

// Header is a header with a shared secret.
type Header struct {
	Name    string            `yaml:"name" validate:"required" doc:"Name of the header."`
	Secrets []handlers.Secret `yaml:"secrets" validate:"required,min=1,dive" doc:"Values of which one must be there; two while one replaces the other."`
}

// API says where Corastone's Integration API is, and who asks it.
type API struct {
	URL          string            `yaml:"url" validate:"required,url" doc:"Where the API is."`
	OrgID        string            `yaml:"org_id" doc:"Your organisation's id."`
	ClientID     string            `yaml:"client_id" validate:"required" doc:"Id of the OAuth client."`
	ClientSecret handlers.Secret   `yaml:"client_secret" doc:"Secret of the OAuth client."`
	Scopes       []string          `yaml:"scopes" validate:"dive,required" doc:"Scopes to ask for; none means those that the switched-on features need."`
	Paths        map[string]string `yaml:"paths" doc:"Paths of endpoints that differ from the documented ones."`
}

// Poll says how the Sequencer is read.
type Poll struct {
	Interval handlers.Duration `yaml:"interval" doc:"Time between two reads. 0s: 1m."`
	Overlap  handlers.Duration `yaml:"overlap" doc:"How far back each read begins. 0s: 10m."`
	From     string            `yaml:"from" validate:"omitempty,eq=now|datetime=2006-01-02T15:04:05Z07:00|datetime=2006-01-02" doc:"Where the first read begins: now, or a time."`
}

// FollowUp says whether details are asked for when a process ended.
type FollowUp struct {
	Enabled     *bool             `yaml:"enabled" doc:"Whether details are asked for; true unless it says false."`
	GiveUpAfter handlers.Duration `yaml:"give_up_after" doc:"How long an incomplete answer is asked for again. 0s: 72h."`
}

// Reconcile says how often the platform and the bus are compared.
type Reconcile struct {
	Every  handlers.Duration `yaml:"every" doc:"Time between two comparisons. 0s: 24h."`
	Window handlers.Duration `yaml:"window" doc:"How far back each comparison goes. 0s: 72h."`
}
