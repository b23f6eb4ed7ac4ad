package tokeny

import "github.com/seed75441868/postern/handlers"

// Settings is the configuration of a source. The doc tags describe the
// settings to users.
type Settings struct {
	Tokens []string `yaml:"tokens" validate:"required,min=1,unique,dive,required,uuid_rfc4122" doc:"Ids of the tokens whose investors are watched."`
	API    *API     `yaml:"api" validate:"required" doc:"Tokeny's API, and who asks it."`
	Poll   Poll     `yaml:"poll" doc:"How often each token's candidates are listed."`
}

// API says where the API is, and who asks it.
type API struct {
	URL      string          `yaml:"url" validate:"required,url" doc:"Where the API is, without /servicing: https://api-testing.tokeny.com or https://api.tokeny.com."`
	Email    string          `yaml:"email" validate:"required,max=320" doc:"Mail address of an agent account of the tokens. Two-factor authentication must be switched off for it."`
	Password handlers.Secret `yaml:"password" doc:"The account's password."`
}

// Poll says how often candidates are listed.
type Poll struct {
	Interval handlers.Duration `yaml:"interval" validate:"gt=0" doc:"Time between the beginnings of two scans of a token. The platform limits rates: a minute is what it surely takes."`
}
