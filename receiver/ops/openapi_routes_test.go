package ops_test

import "github.com/seed75441868/postern/receiver/ops"

// operation describes a route.
type operation struct {
	summary string
	more    string // what the summary leaves out
	// role is what the caller's token needs; "" if nobody is asked for one.
	// Who only reads needs none on loopback.
	role       ops.Role
	parameters []parameter // in the order of the path, then of the query
	answer     any         // a zero value of what it answers; nil if that is no JSON of ours
	media      string      // of the answer; "" means application/json
	problems   map[int]string
}

// parameter describes a parameter of a route. Those of its path are required.
type parameter struct {
	name, meaning string
	schema        object
	example       string
}

// object is a JSON object, whose members are written by name.
type object = map[string]any

var (
	text    = object{"type": "string"}
	flag    = object{"type": "boolean"}
	counted = object{"type": "integer", "minimum": 0}
	source  = parameter{"source", "Only of this source.", object{"type": "string", "pattern": "^[a-z0-9-]{1,32}$"}, "corastone"}
	reason  = parameter{"reason", "Only for this reason.", text, "stale"}
	after   = parameter{"after", "Only those behind this sequence.", counted, "1"}
	until   = parameter{"until", "Only those up to this sequence.", counted, "90"}
	limited = func(usual, most int) parameter {
		return parameter{"limit", "At most so many.", object{"type": "integer", "minimum": 1, "maximum": most, "default": usual}, "10"}
	}
	eventID  = parameter{"id", "The id of the event.", object{"type": "string", "pattern": "^[A-Za-z0-9:._=-]{1,600}$"}, "corastone:process:p-1:success"}
	recordID = parameter{"id", "The sequence of the record, or the id of the delivery.", text, "7"}
)

const (
	busAway    = "The bus or the journal can't be asked now."
	notThere   = "There is none."
	cantOpen   = "It can't be opened: the key that sealed it is not configured, or it is damaged."
	cantRead   = "A parameter is unknown, or has a value that can't be."
	onlyUnseal = "Opened records need the role unseal. "
)

// operations describes all routes, by method and path.
var operations = map[string]operation{
	"GET /livez": {summary: "Whether it runs.", media: "text/plain"},
	"GET /readyz": {
		summary: "Whether a push could be taken durably now.", media: "text/plain",
		more:       "What is only degraded, like a bus that is away, keeps nobody from pushing; verbose shows it.",
		parameters: []parameter{{"verbose", "A line for each check.", text, ""}},
		problems:   map[int]string{503: "No push can be taken now."},
	},
	"GET /metrics": {summary: "Metrics, as Prometheus reads them.", media: "text/plain"},

	"GET /openapi.json":  {summary: "This document.", role: ops.RoleViewer, answer: object{}},
	"GET /asyncapi.json": {summary: "What is published, and where.", role: ops.RoleViewer, answer: object{}},
	"GET /schemas":       {summary: "The types of events, and where their schemas are.", role: ops.RoleViewer, answer: []schemaEntry{}},
	"GET /schemas/":      {summary: "The types of events, and where their schemas are.", role: ops.RoleViewer, answer: []schemaEntry{}},
	"GET /schemas/{name}": {
		summary: "The JSON Schema of a type.", role: ops.RoleViewer, answer: object{}, media: "application/schema+json",
		parameters: []parameter{{"name", "The type with its version and .json.", text, "process.succeeded.v1.json"}},
		problems:   map[int]string{404: notThere},
	},

	"GET /api/v1/version": {summary: "What runs.", role: ops.RoleViewer, answer: ops.Version{}},
	"GET /api/v1/status":  {summary: "How the receiver is, and what is wrong.", role: ops.RoleViewer, answer: ops.Status{}},
	"GET /api/v1/streams": {
		summary: "How full the streams are, and how they differ from the configuration.", role: ops.RoleViewer,
		answer: struct {
			Streams []ops.StreamStatus `json:"streams"`
		}{},
		problems: map[int]string{503: busAway},
	},
	"GET /api/v1/tail": {
		summary: "Events, one a line: those that are there, then those that come.", role: ops.RoleViewer,
		more:  "If it fails midway it breaks the connection, so that nobody takes a part for the whole.",
		media: "application/x-ndjson", answer: ops.TailEvent{},
		parameters: []parameter{
			source,
			{"type", "Only of this type, or of those that match a pattern like process.*", text, "process.*"},
			{"key", "Only of the entity with this key.", text, "p-1"},
			{"since", "Begin with those since then: a duration like 1h or 2d, or a time.", text, "1h"},
			{"last", "Begin with the last so many.", counted, "5"},
			{"count", "End after so many; 0 means never.", counted, "5"},
			{"follow", "Go on with those that come.", object{"type": "boolean", "default": true}, "false"},
		},
		problems: map[int]string{400: cantRead, 503: "Events can't be read now, or too many follow them."},
	},

	"GET /api/v1/events/{id}": {
		summary: "An event, without what not everybody may see.", role: ops.RoleViewer, answer: ops.TailEvent{},
		parameters: []parameter{eventID},
		problems:   map[int]string{400: cantRead, 404: notThere, 503: busAway},
	},
	"GET /api/v1/events/{id}/restricted": {
		summary: "An event's restricted twin.", more: "It is told on POSTERN_OPS.", role: ops.RoleUnseal, answer: ops.TailEvent{},
		parameters: []parameter{eventID},
		problems:   map[int]string{400: cantRead, 404: notThere, 503: busAway},
	},
	"GET /api/v1/events/{id}/raw": {
		summary: "The delivery that told an event, opened.", more: "It is told on POSTERN_OPS.", role: ops.RoleUnseal, answer: ops.Record{},
		parameters: []parameter{eventID},
		problems:   map[int]string{400: cantRead, 404: notThere, 409: cantOpen, 503: busAway},
	},

	"GET /api/v1/rejected": {
		summary: "Pushes that were refused though their caller is allowed, the oldest first.", role: ops.RoleViewer, answer: ops.Records{},
		parameters: []parameter{source, reason, after, until, limited(100, 1000)},
		problems:   map[int]string{400: cantRead, 503: busAway},
	},
	"GET /api/v1/rejected/{seq}": {
		summary: "A refused push, opened.", more: "It is told on POSTERN_OPS.", role: ops.RoleUnseal, answer: ops.Record{},
		parameters: []parameter{{"seq", "Its sequence.", counted, "7"}},
		problems:   map[int]string{400: cantRead, 404: notThere, 409: cantOpen, 503: busAway},
	},
	"GET /api/v1/quarantine": {
		summary: "Deliveries that could not become events, the oldest first.", role: ops.RoleViewer, answer: ops.Records{},
		parameters: []parameter{source, reason, after, until, limited(100, 1000)},
		problems:   map[int]string{400: cantRead, 503: busAway},
	},
	"GET /api/v1/quarantine/{id}": {
		summary: "A delivery in quarantine.", more: onlyUnseal + "Opening is told on POSTERN_OPS.", role: ops.RoleViewer, answer: []ops.Record{},
		parameters: []parameter{recordID, {"unseal", "Open it; needs a token with the role unseal.", flag, ""}},
		problems:   map[int]string{400: cantRead, 404: notThere, 409: cantOpen, 503: busAway},
	},
	"POST /api/v1/quarantine/{id}/release": handling("Has a delivery in quarantine translated again, and told.", false),
	"POST /api/v1/quarantine/{id}/discard": handling("Deletes a delivery from quarantine.", false),
	"POST /api/v1/quarantine/release":      handling("Has all deliveries in quarantine that match translated again, and told, up to 100 at a time.", true),
	"POST /api/v1/quarantine/discard":      handling("Deletes all deliveries from quarantine that match, up to 100 at a time.", true),

	"GET /api/v1/sources": {
		summary: "The sources, and what became of their subscriptions.", role: ops.RoleViewer, answer: ops.SourceList{},
		problems: map[int]string{400: cantRead, 503: busAway},
	},
	"POST /api/v1/sources/{name}/confirm": {
		summary: "Confirms the subscriptions of a source that wait for it.", more: "It is told on POSTERN_OPS in the name of the token.",
		role: ops.RoleOperator, answer: ops.ConfirmationList{},
		parameters: []parameter{{"name", "The name of the source.", source.schema, "corastone"}},
		problems:   map[int]string{400: cantRead, 404: "There is no such source, or nothing waits.", 503: busAway},
	},

	"POST /api/v1/sources/{name}/reconcile": {
		summary: "Compares a platform with the bus and has told what is missing: a line now and then with what was found, the last one complete or with an error.",
		more:    "It is told on POSTERN_OPS in the name of the token. Who hangs up ends it; it is safe to repeat.",
		role:    ops.RoleOperator, media: "application/x-ndjson", answer: ops.Reconciled{},
		parameters: []parameter{
			{"name", "The name of the source.", source.schema, "corastone"},
			{"since", "Compare since then: a duration like 72h or 2d, or a time.", text, "72h"},
			{"until", "Compare until then; a few minutes ago if nothing is said.", text, "1h"},
			{"dry_run", "Only count what is missing.", flag, "true"},
			{"accept_repeats", "Compare also what is older than the bus keeps, and tell it again.", flag, "false"},
		},
		problems: map[int]string{400: cantRead, 404: "There is no such source.", 409: "It can't be compared.", 503: busAway},
	},

	"GET /api/v1/pollers": {
		summary: "The pollers, and how they are.", role: ops.RoleViewer,
		answer: struct {
			Pollers []ops.PollerStatus `json:"pollers"`
		}{},
		problems: map[int]string{503: busAway},
	},
	"POST /api/v1/pollers/{source}/{poller}/{verb}": {
		summary: "Has a poller do something.", role: ops.RoleOperator,
		more: "Paused ones are paused on all receivers, also after a restart. Accept believes the scan that is suspect.",
		answer: struct {
			Poller string         `json:"poller"`
			Done   ops.PollerVerb `json:"done"`
		}{},
		parameters: []parameter{
			{"source", "The first part of its name.", text, "concedus"},
			{"poller", "The second part of its name.", text, "agent-list"},
			{"verb", "What it is to do.", object{"type": "string", "enum": []any{"run", "pause", "resume", "accept"}}, "run"},
		},
		problems: map[int]string{404: notThere, 409: "There is nothing to do: nothing is paused, or suspect.", 503: busAway},
	},

	"POST /api/v1/reload": {
		summary: "Reads the configuration again, and applies all of it or nothing.", role: ops.RoleOperator, answer: ops.Reloaded{},
		problems: map[int]string{422: "The new configuration is bad and the old one stays; problems lists the places.", 503: "The receiver is ending."},
	},
	"POST /api/v1/backup": {
		summary: "Copies what the receiver keeps into a folder of its machine.", role: ops.RoleOperator,
		answer: struct {
			Dir string `json:"dir"`
		}{},
		parameters: []parameter{{"dir", "The whole path of a folder that isn't there yet.", text, "/backup/monday"}},
		problems:   map[int]string{400: cantRead, 409: "Another backup is under way.", 422: "No backup was made, and why."},
	},
}

// schemaEntry is a line of the index of schemas.
type schemaEntry = struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// handling describes the routes of quarantine that change something.
func handling(summary string, many bool) operation {
	o := operation{
		summary: summary, role: ops.RoleOperator, answer: ops.HandledList{},
		more:       "It is told on POSTERN_OPS in the name of the token.",
		parameters: []parameter{recordID},
		problems:   map[int]string{400: cantRead, 404: notThere, 503: busAway},
	}
	if many {
		o.more += " Who wants everything says all. While more is true, repeat it with after=behind and until=last."
		o.parameters = []parameter{{"all", "All that are there, or that the others name.", flag, "true"}, source, reason, after, until, limited(100, 100)}
		delete(o.problems, 404)
	}
	return o
}
