package accesscontrols

import "github.com/seed75441868/postern/handlers"

// Settings is the configuration of a source. The doc tags describe the
// settings to users.
type Settings struct {
	Tranches []string `yaml:"tranches" validate:"unique,dive,required,max=100" doc:"Ids of tranches to watch. One of tranches, deals and discover is needed."`
	Deals    []string `yaml:"deals" validate:"unique,dive,required,max=100" doc:"Ids of deals to watch, with their tranches as the Deals API lists them."`
	Discover bool     `yaml:"discover" doc:"Watch all deals and tranches that the Deals API lists."`
	View     View     `yaml:"view" validate:"oneof=user full" doc:"Which v2 documents are read: user (what this client may do) or full (the rules; needs the scope accesscontrol-admin, which may also write)."`
	Shared   bool     `yaml:"shared" doc:"Read shared data instead of private (x-access-type: shared). Needs a client of an issuer."`
	API      *API     `yaml:"api" validate:"required" doc:"The API of CAS."`
	Poll     *Poll    `yaml:"poll" doc:"How often it is read."`
}

// View says which v2 documents are read.
type View string

// The views.
const (
	ViewUser View = "user" // each permission is a boolean
	ViewFull View = "full" // each permission is a set of rules
)

// API says where the API is, and who asks it.
type API struct {
	URL          string          `yaml:"url" validate:"required,url" doc:"Where the API is, like https://api.uat.us-cas.ipreo.com."`
	TokenURL     string          `yaml:"token_url" validate:"required,url" doc:"Where tokens are got, like https://identity.uat.us-cas.ipreo.com/connect/token."`
	ClientID     string          `yaml:"client_id" validate:"required" doc:"Id of the OAuth client."`
	ClientSecret handlers.Secret `yaml:"client_secret" doc:"Secret of the OAuth client."`
}

// Poll says how often the API is read.
type Poll struct {
	Interval handlers.Duration `yaml:"interval" validate:"gt=0" doc:"Time between two reads."`
}
