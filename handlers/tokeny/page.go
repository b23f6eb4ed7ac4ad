package tokeny

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// page is what an answer says about the list that it is a part of. Documented
// is only that it is an object with items; what stands behind them is not
// known, so that everything is heeded that sounds like paging.
type page struct {
	items   int      // how many it has
	total   int      // how many there are in all, if it says so
	next    string   // a URL or a query that leads to the next page, as it says it
	more    bool     // there are more, wherever
	pages   int      // how many pages there are, if it says so
	unknown []string // the names of members that say nothing to us
}

// What members that are about paging are called, in lower case without
// underscores: by the names that APIs give them.
var (
	nextWords   = words("next nextpage nexturl nextlink nextpageurl nextcursor nextpagetoken nextoffset")
	totalWords  = words("count total totalcount totalitems totalelements totalrecords itemscount itemcount")
	pagesWords  = words("pages pagecount totalpages lastpage")
	moreWords   = words("more hasmore hasnext hasnextpage")
	nestedWords = words("links meta metadata paging pagination pageinfo")
	// Of these nothing follows.
	otherWords = words("page pagesize pagenumber currentpage perpage limit offset size skip take prev previous previouspage self first last href")
)

func words(list string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}

// readPage reads an answer, and calls item for each of its items, which must
// read a whole value. If bare, the answer may be the list of items itself. It
// fails with [handlers.ErrNotJSON], with
// [handlers.ErrIncomplete] if it is no list, and with item's errors.
func readPage(body []byte, bare bool, item func(*jsontext.Decoder) error) (page, error) {
	var p page
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	var err error
	switch kind := dec.PeekKind(); {
	case kind == jsontext.KindBeginObject:
		err = p.read(dec, item)
	case kind == jsontext.KindBeginArray && bare:
		err = p.list(dec, item)
	case jsontext.Value(body).IsValid():
		err = incomplete("it is no object")
	default:
		err = handlers.ErrNotJSON
	}
	var own itemError
	switch {
	case errors.As(err, &own):
		return p, own.error
	case err != nil:
		return p, readable(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return p, handlers.ErrNotJSON // something stands behind it
	}
	return p, nil
}

// itemError is an error that may be handed on as it is.
type itemError struct{ error }

func (p *page) read(dec *jsontext.Decoder, item func(*jsontext.Decoder) error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	listed := false
	for dec.PeekKind() != jsontext.KindEndObject {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if name := name.String(); name != "items" {
			value, err := dec.ReadValue()
			if err != nil {
				return err
			}
			p.member(name, value, true)
			continue
		}
		if dec.PeekKind() != jsontext.KindBeginArray {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			return incomplete("items is no list")
		}
		listed = true
		if err := p.list(dec, item); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if !listed {
		return incomplete("items is missing")
	}
	return nil
}

func (p *page) list(dec *jsontext.Decoder, item func(*jsontext.Decoder) error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		if err := item(dec); err != nil {
			return itemError{err}
		}
		p.items++
	}
	_, err := dec.ReadToken()
	return err
}

// member hears what a member other than items says about paging.
func (p *page) member(name string, value jsontext.Value, outer bool) {
	switch word := strings.ToLower(strings.ReplaceAll(name, "_", "")); {
	case nextWords[word]:
		p.follow(value)
	case totalWords[word]:
		p.total = max(p.total, number(value))
	case pagesWords[word]:
		p.pages = max(p.pages, number(value))
	case moreWords[word]:
		p.more = p.more || value.Kind() == jsontext.KindTrue
	case nestedWords[word] && value.Kind() == jsontext.KindBeginObject && outer:
		members(value, func(name string, value jsontext.Value) { p.member(name, value, false) })
	case nestedWords[word], otherWords[word], !outer:
	default:
		p.unknown = append(p.unknown, name)
	}
}

// follow hears where the next page is.
func (p *page) follow(value jsontext.Value) {
	switch value.Kind() {
	case jsontext.KindString:
		var text string
		if json.Unmarshal(value, &text) == nil && text != "" {
			p.next = text
		}
	case jsontext.KindBeginObject: // {"href": "…"}
		members(value, func(name string, value jsontext.Value) {
			if name == "href" || name == "url" {
				p.follow(value)
			}
		})
		p.more = true
	case jsontext.KindNumber:
		p.more = p.more || number(value) > 0
	case jsontext.KindTrue, jsontext.KindBeginArray:
		p.more = true
	}
}

// members calls fn with the members of an object whose syntax was checked.
func members(object jsontext.Value, fn func(name string, value jsontext.Value)) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return
		}
		name := token.String() // before the next read, which ends the token
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		fn(name, value)
	}
}

// number returns a whole number, or a text of one; 0 if it is none.
func number(value jsontext.Value) int {
	n, err := strconv.Atoi(strings.Trim(string(value), `"`))
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// readable returns what may be said of why an answer could not be read: the
// library's errors quote values.
func readable(err error) error {
	var wrong *json.SemanticError
	switch {
	case errors.Is(err, handlers.ErrIncomplete):
		return err
	case errors.As(err, &wrong):
		// What is below a name that we don't know is never decoded, so this is
		// one of ours, or the number of an item.
		name := wrong.JSONPointer.LastToken()
		if _, err := strconv.Atoi(name); err == nil || !isName(name) {
			return incomplete("an item has another type than documented")
		}
		return incomplete("items." + name + " has another type than documented")
	}
	return handlers.ErrNotJSON
}

// isName reports whether s looks like what programmers call a field.
func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
