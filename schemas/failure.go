package schemas

// The types of why something failed.
const (
	ProcessFailureExplained Type = "process.failure_explained"
	ErrorDetailed           Type = "error.detailed"
)

var failureDefinitions = []Definition{
	{ProcessFailureExplained, "Why a transaction failed, in the platform's codes.", Failure{}},
	{ErrorDetailed, "What a platform's error log says of an error.", ErrorDetails{}},
}

// Failure is why a transaction failed. Its key is the processId.
type Failure struct {
	Platform        string      `json:"platform" validate:"required" doc:"The platform that executed it."`
	ProcessID       string      `json:"processId" validate:"required,max=200" doc:"The transaction's id."`
	OrchestrationID *string     `json:"orchestrationId" doc:"The sequence of transactions that it is part of."`
	NativeStatus    *string     `json:"nativeStatus" doc:"The transaction's status, in the platform's word."`
	ErrorIDs        []string    `json:"errorIds" doc:"The errors that say why."`
	Codes           []ErrorCode `json:"codes" doc:"The codes that say why."`
}

// Facets is empty: a failure is explained once.
func (Failure) Facets() Facets { return Facets{} }

// ErrorDetails is an entry of a platform's error log. Its key is the errorId.
// Messages and inputs are on the twin.
type ErrorDetails struct {
	Platform   string              `json:"platform" validate:"required" doc:"The platform that logged it."`
	ErrorID    string              `json:"errorId" validate:"required,max=200" doc:"The error's id."`
	Action     *ErrorAction        `json:"action" doc:"What somebody tried to do."`
	TrackingID *string             `json:"trackingId" doc:"The platform's id of the call or sequence of transactions that failed."`
	Codes      []ErrorCode         `json:"codes" doc:"The codes that say why."`
	Affects    map[string][]string `json:"affects" doc:"The ids of what it is about, by the platform's name of the list."`
}

// Facets is empty: the log says it once.
func (ErrorDetails) Facets() Facets { return Facets{} }

// ErrorCode is a platform's code of an error.
type ErrorCode struct {
	Code      string  `json:"code" doc:"The code."`
	Family    *string `json:"family" doc:"What its first letters stand for; null if they are not documented."`
	Message   *string `json:"message" doc:"The documented message, with its placeholders; null if none is."`
	Category  *string `json:"category" doc:"The platform's code of the category, EC001 to EC006."`
	Retryable *bool   `json:"retryable" doc:"Whether the same may succeed later; null where the platform doesn't say."`
}
