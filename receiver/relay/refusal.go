package relay

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// refusalContext is what refused pushes are sealed for, so that none of them
// can be passed off as a delivery.
const refusalContext = "rejected push"

// refusalHead is what is sealed before the body: a line of JSON.
type refusalHead struct {
	Source   string          `json:"source"`
	Platform string          `json:"platform"`
	Reason   handlers.Reason `json:"reason"`
	Detail   string          `json:"detail"`
	Remote   netip.Addr      `json:"remote"`
	Received time.Time       `json:"received"`
	Header   http.Header     `json:"header"`
	Bodyless bool            `json:"bodyless,omitzero"`
}

func sealRefusal(keys *journal.Keyring, p handlers.Refusal) []byte {
	// A header may hold bytes that are no text.
	plain, err := json.Marshal(refusalHead{
		p.Source, p.Platform, p.Reason, p.Detail, p.Remote, p.Received, p.Header, p.Body == nil,
	}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		plain = []byte("{}") // only if a type above had no JSON
	}
	plain = append(plain, '\n')
	return keys.Seal(refusalContext, append(plain, p.Body...))
}

// OpenRefusal opens a record of POSTERN_REJECTED. It fails with the errors of
// [journal.Keyring.Open], or if it is none.
func OpenRefusal(keys *journal.Keyring, sealed []byte) (handlers.Refusal, error) {
	plain, err := keys.Open(refusalContext, sealed)
	if err != nil {
		return handlers.Refusal{}, err
	}
	line, body, ok := bytes.Cut(plain, []byte("\n"))
	var head refusalHead
	if err := json.Unmarshal(line, &head); err != nil || !ok {
		return handlers.Refusal{}, fmt.Errorf("open a refused push: %w", errors.New("it is written in another way"))
	}
	if head.Bodyless {
		body = nil
	}
	return handlers.Refusal{
		Source: head.Source, Platform: head.Platform, Reason: head.Reason, Detail: head.Detail,
		Remote: head.Remote, Received: head.Received, Header: head.Header, Body: body,
	}, nil
}
