package corastone

import (
	"errors"
	"regexp"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// The native shapes, as Corastone's guide shows them (Event retrieval, Get
// Sequence Data). Members that are not listed are collected: they go to the
// twin and are told as drift. A null says as much as an absent member.

// entry is a Sequence Entry: an object with exactly one of its first four
// members.
type entry struct {
	Transaction   *transaction   `json:"transaction"`
	Orchestration *orchestration `json:"orchestration"`
	Error         *loggedError   `json:"error"`
	Job           jsontext.Value `json:"job"` // no documented shape
	Unknown       jsontext.Value `json:",embed"`
}

// transaction is an event that changes data.
type transaction struct {
	ProcessID         string             `json:"processId"`
	Status            string             `json:"status"` // queued, in_progress, success, failed, timed_out
	Type              string             `json:"type"`   // open; issuance was seen
	Method            string             `json:"method"` // open; createInvestment was seen
	Timestamp         moment             `json:"timestamp"`
	OrchestrationID   string             `json:"orchestrationId"`
	OrgID             string             `json:"orgId"`
	BlockchainDetails *blockchainDetails `json:"blockchainDetails"`
	Details           details            `json:"details"`
	// The transactions' own list has these too.
	OrchestrationStartDate moment         `json:"orchestrationStartDate"`
	GrantedByProcessID     string         `json:"grantedByProcessId"`
	Unknown                jsontext.Value `json:",embed"`
}

// blockchainDetails is a transaction's place on the ledger.
type blockchainDetails struct {
	BlockNumber   block          `json:"blockNumber"`
	ChannelName   string         `json:"channelName"` // its case varies
	TransactionID string         `json:"transactionId"`
	Unknown       jsontext.Value `json:",embed"`
}

// orchestration coordinates transactions.
type orchestration struct {
	OrchestrationID string         `json:"orchestrationId"`
	Status          string         `json:"status"` // queued, in_progress, success, failed, dlq
	StartDate       moment         `json:"startDate"`
	Timestamp       moment         `json:"timestamp"` // absent until it is finished
	ProcessIDs      ids            `json:"processIds"`
	Unknown         jsontext.Value `json:",embed"`
}

// loggedError tells that an action failed.
type loggedError struct {
	ErrorID   string         `json:"errorId"`
	Timestamp moment         `json:"timestamp"`
	Action    *action        `json:"action"`
	Unknown   jsontext.Value `json:",embed"`
}

type action struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	HTTPData *httpData      `json:"httpData"`
	Unknown  jsontext.Value `json:",embed"`
}

type httpData struct {
	Method  string         `json:"method"`
	URL     string         `json:"url"`
	Unknown jsontext.Value `json:",embed"`
}

// errShape says that a value has another type than documented. Its text holds
// nothing of the value, and where it is comes from the decoder.
var errShape = errors.New("has another type than documented")

// moment is a time: a date with or without the time of day, or milliseconds
// since 1970, as a string or a number.
type moment struct {
	at      string // RFC 3339, "" if absent or unknown
	unknown bool   // something is there, but in no form that is known
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *moment) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case jsontext.KindNull:
	case jsontext.KindString, jsontext.KindNumber:
		if s := token.String(); s != "" {
			at, ok := handlers.Time(s)
			*m = moment{at: at, unknown: !ok}
		}
	default:
		return errShape
	}
	return nil
}

// block is a block number: a whole number, or a string of one. It is nil if
// absent.
type block struct{ number *int64 }

// maxBlock is the largest block number that a sequence has room for.
const maxBlock = 9999999999999999

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (b *block) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return nil
	case jsontext.KindString, jsontext.KindNumber:
		n, err := strconv.ParseInt(token.String(), 10, 64)
		if err != nil || n < 0 || n > maxBlock {
			return errShape
		}
		b.number = &n
		return nil
	}
	return errShape
}

// ids is a list of ids, or a single id. None of them is empty.
type ids []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *ids) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case jsontext.KindNull:
		return dec.SkipValue()
	case jsontext.KindString, jsontext.KindBeginArray:
		list, ok, err := readIDs(dec)
		if err == nil && !ok {
			return errShape
		}
		*l = list
		return err
	}
	return errShape
}

// readIDs reads a value. It reports whether that is an id or a list of ids.
func readIDs(dec *jsontext.Decoder) (list []string, ok bool, err error) {
	if dec.PeekKind() != jsontext.KindBeginArray {
		id, ok, err := readID(dec)
		return []string{id}, ok, err
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, false, err
	}
	list, ok = []string{}, true
	for dec.PeekKind() != jsontext.KindEndArray {
		id, isID, err := readID(dec)
		if err != nil {
			return nil, false, err
		}
		list, ok = append(list, id), ok && isID
	}
	_, err = dec.ReadToken()
	return list, ok, err
}

func readID(dec *jsontext.Decoder) (id string, ok bool, err error) {
	if dec.PeekKind() != jsontext.KindString {
		return "", false, dec.SkipValue()
	}
	token, err := dec.ReadToken()
	if err != nil {
		return "", false, err
	}
	id = token.String()
	return id, id != "", nil
}

// details says what a transaction touched.
type details struct {
	affects map[string][]string // the members that are lists of ids
	unknown []string            // the names of the others
}

// idList is what a member of details is called that lists ids.
var idList = regexp.MustCompile(`^[A-Za-z0-9]{1,64}Ids$`)

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *details) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case jsontext.KindNull:
		return dec.SkipValue()
	case jsontext.KindBeginObject:
	default:
		return errShape
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if err := d.member(token.String(), dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (d *details) member(name string, dec *jsontext.Decoder) error {
	if !idList.MatchString(name) {
		d.unknown = append(d.unknown, name)
		return dec.SkipValue()
	}
	kind := dec.PeekKind()
	list, ok, err := readIDs(dec)
	switch {
	case err != nil || kind == jsontext.KindNull:
		return err
	case !ok || kind != jsontext.KindBeginArray:
		d.unknown = append(d.unknown, name)
		return nil
	}
	if d.affects == nil {
		d.affects = map[string][]string{}
	}
	d.affects[name] = slices.Clip(list)
	return nil
}
