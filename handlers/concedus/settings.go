package concedus

import "github.com/seed75441868/postern/handlers"

// Settings is the configuration of a source. The doc tags describe the
// settings to users.
type Settings struct {
	API        API               `yaml:"api" doc:"Concedus' API."`
	Agent      *Login            `yaml:"agent" doc:"The tied agent's account: its list of open contracts is read, and compliance statuses. It or issuers is needed."`
	Issuers    []Issuer          `yaml:"issuers" validate:"dive" doc:"The issuers' accounts, one for each product owner whose list of open contracts is read."`
	Poll       Poll              `yaml:"poll" doc:"How often Concedus is asked."`
	ResolveFor handlers.Duration `yaml:"resolve_for" validate:"gt=0" doc:"How long it is asked why a contract left a list, before that is told as undetermined."`
}

// API says where Concedus' API is.
type API struct {
	URL string `yaml:"url" validate:"required,url" doc:"Where the API is, without /v2: https://demo2.api.concedus.com for tests."`
}

// Login is an account.
type Login struct {
	Username string          `yaml:"username" validate:"required" doc:"Name of the account."`
	Password handlers.Secret `yaml:"password" doc:"Password of the account."`
}

// Issuer is the account of a product owner.
type Issuer struct {
	Owner    string          `yaml:"owner" validate:"required,max=64" doc:"The product owner's id, as in the paths of the API."`
	Username string          `yaml:"username" validate:"required" doc:"Name of the account; usually the product's number."`
	Password handlers.Secret `yaml:"password" doc:"Password of the account."`
}

// Poll says how often Concedus is asked.
type Poll struct {
	Interval handlers.Duration `yaml:"interval" validate:"gt=0" doc:"Time between two reads of a list. Concedus needs minutes for what it does, so less than 30s gains nothing."`
}
