package schemas

import "github.com/go-json-experiment/json/jsontext"

// The types that tell how the asking of a platform goes. They go to
// POSTERN_OPS.
const (
	PlatformPollFailed    Type = "platform.poll_failed"
	PlatformPollRecovered Type = "platform.poll_recovered"
	PlatformAuthFailed    Type = "platform.auth_failed"
	PlatformScanSuspect   Type = "platform.scan_suspect"

	PlatformFollowUpRequested Type = "platform.follow_up_requested"
	PlatformRepaired          Type = "platform.repaired"
)

var pollDefinitions = []Definition{
	{PlatformPollFailed, "A poller has failed three times in a row or for five minutes; told once, until it has recovered.", PollFailure{}},
	{PlatformPollRecovered, "A poller that had failed succeeds again.", PollRecovery{}},
	{PlatformAuthFailed, "A platform refuses a login; told once, until it accepts one.", AuthFailure{}},
	{PlatformScanSuspect, "A list shrank so much that it isn't believed until others agree or an operator does.", ScanSuspicion{}},
	{PlatformFollowUpRequested, "The meaning of an event is asked for again that the platform did not tell in time; an operator released it from quarantine.", FollowUpRequest{}},
	{PlatformRepaired, "A comparison of a platform with the bus found what had been missed; it was told.", Repair{}},
}

// PollFailure is the data of an event about a poller that fails. Its key is
// the poller's name, as is that of the types below.
type PollFailure struct {
	Platform string  `json:"platform" validate:"required" doc:"The platform that was asked."`
	Poller   string  `json:"poller" validate:"required,max=200" doc:"The poller's name, without its source."`
	Since    string  `json:"since" validate:"required" doc:"When the first scan failed: RFC 3339."`
	Failures int64   `json:"failures" validate:"min=1" doc:"How many scans have failed in a row by now."`
	Reason   string  `json:"reason" validate:"required" doc:"Why the last one did: auth, answer, unreachable, timeout, not_json, incomplete, moved or other."`
	Endpoint *string `json:"endpoint" doc:"What was asked for, in the words of the metrics; null when that isn't known."`
	Code     *int64  `json:"code" doc:"The HTTP status that was answered; null when there was none."`
}

// Facets is empty: receivers ask for themselves.
func (PollFailure) Facets() Facets { return Facets{} }

// PollRecovery is the data of an event about a poller that failed before.
type PollRecovery struct {
	Platform string `json:"platform" validate:"required" doc:"The platform that was asked."`
	Poller   string `json:"poller" validate:"required,max=200" doc:"The poller's name, without its source."`
	Since    string `json:"since" validate:"required" doc:"When the first scan failed: RFC 3339."`
	Seconds  int64  `json:"seconds" validate:"min=0" doc:"How long it failed: until the scan began that succeeded."`
}

// Facets is empty: receivers ask for themselves.
func (PollRecovery) Facets() Facets { return Facets{} }

// AuthFailure is the data of an event about a login that is refused.
type AuthFailure struct {
	Platform string `json:"platform" validate:"required" doc:"The platform that refuses it."`
	Poller   string `json:"poller" validate:"required,max=200" doc:"The poller that met it first, without its source; others may use the same login."`
	Endpoint string `json:"endpoint" validate:"required" doc:"What was asked, in the words of the metrics."`
	Code     int64  `json:"code" doc:"The HTTP status that was answered."`
	Retry    string `json:"retry" validate:"required" doc:"Before when it is not tried again: RFC 3339."`
}

// Facets is empty: receivers ask for themselves.
func (AuthFailure) Facets() Facets { return Facets{} }

// ScanSuspicion is the data of an event about a list that shrank.
type ScanSuspicion struct {
	Platform  string `json:"platform" validate:"required" doc:"The platform whose list it is."`
	Poller    string `json:"poller" validate:"required,max=200" doc:"The poller's name, without its source."`
	Container string `json:"container" validate:"required" doc:"The list, token, tranche or deal."`
	Before    int64  `json:"before" doc:"How many entities were in it."`
	Seen      int64  `json:"seen" doc:"How many were seen in it this time."`
}

// Facets is empty: receivers ask for themselves.
func (ScanSuspicion) Facets() Facets { return Facets{} }

// FollowUpRequest is the data of an event about another event whose meaning is
// to be asked for again. Its key is the source's name.
type FollowUpRequest struct {
	Platform  string         `json:"platform" validate:"required" doc:"The platform that is to be asked."`
	Event     string         `json:"event" validate:"required" doc:"The id of the event."`
	EventType Type           `json:"eventType" validate:"required" doc:"Its type, without the version."`
	EventKey  string         `json:"eventKey" validate:"required" doc:"Its key."`
	EventTime string         `json:"eventTime" validate:"required" doc:"Its time: RFC 3339."`
	EventData jsontext.Value `json:"eventData" validate:"required" doc:"Its open data."`
}

// Facets is empty: a request is made once.
func (FollowUpRequest) Facets() Facets { return Facets{} }

// Repair is the data of an event about a comparison of a platform with the
// bus. Its key is reconcile.
type Repair struct {
	Platform    string `json:"platform" validate:"required" doc:"The platform that was asked."`
	From        string `json:"from" validate:"required" doc:"Where the time begins that was compared: RFC 3339."`
	To          string `json:"to" validate:"required" doc:"Where it ends: RFC 3339."`
	Facts       int64  `json:"facts" doc:"How many facts the platform told of that time."`
	Missing     int64  `json:"missing" validate:"min=1" doc:"How many events of them were not on the bus, and were told."`
	Disagreeing int64  `json:"disagreeing" doc:"How many events of them say something else on the bus; those are as they were."`
}

// Facets is empty: receivers compare for themselves.
func (Repair) Facets() Facets { return Facets{} }
