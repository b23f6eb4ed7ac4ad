package corastonetest

import "github.com/go-json-experiment/json"

// Entry is a Sequence Entry.
type Entry interface {
	// Entry returns its JSON.
	Entry() string
}

// Process is a transaction.
type Process struct {
	ProcessID         string              `json:"processId"`
	Status            string              `json:"status"`
	Type              string              `json:"type"`
	Method            string              `json:"method"`
	Timestamp         string              `json:"timestamp"`
	OrchestrationID   string              `json:"orchestrationId,omitempty"`
	OrgID             string              `json:"orgId,omitempty"`
	BlockchainDetails *Place              `json:"blockchainDetails,omitempty"`
	Details           map[string][]string `json:"details,omitempty"`
}

// Place is a transaction's place on the ledger.
type Place struct {
	BlockNumber   int64  `json:"blockNumber"`
	ChannelName   string `json:"channelName"`
	TransactionID string `json:"transactionId"`
}

// Orchestration is a sequence of transactions.
type Orchestration struct {
	OrchestrationID string   `json:"orchestrationId"`
	StartDate       string   `json:"startDate"`
	Status          string   `json:"status"`
	Timestamp       string   `json:"timestamp,omitempty"`
	ProcessIDs      []string `json:"processIds"`
}

// Error is an entry of the error log.
type Error struct {
	ErrorID   string `json:"errorId"`
	Timestamp string `json:"timestamp"`
	Action    Action `json:"action"`
}

// Action is what failed.
type Action struct {
	HTTPData HTTPData `json:"httpData"`
	Name     string   `json:"name"`
	ID       string   `json:"id"`
}

// HTTPData is the request that failed.
type HTTPData struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// Job is a task that was performed. Corastone documents no field of it; these
// are made up.
type Job map[string]any

// Text is an entry as it is, good or bad.
type Text string

// Entry implements [Entry].
func (p Process) Entry() string { return tagged("transaction", p) }

// Entry implements [Entry].
func (o Orchestration) Entry() string { return tagged("orchestration", o) }

// Entry implements [Entry].
func (e Error) Entry() string { return tagged("error", e) }

// Entry implements [Entry]. It panics if a value has no JSON.
func (j Job) Entry() string { return tagged("job", j) }

// Entry implements [Entry].
func (t Text) Entry() string { return string(t) }

func tagged(kind string, v any) string {
	b, err := json.Marshal(map[string]any{kind: v}, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return string(b)
}
