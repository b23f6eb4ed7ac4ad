package main

import (
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/tokeny"
)

// platforms lists what a source can be: one line per platform.
func platforms() []handlers.Platform {
	return []handlers.Platform{
		corastone.Platform(),
		concedus.Platform(),
		tokeny.Platform(),
		accesscontrols.Platform(),
	}
}
