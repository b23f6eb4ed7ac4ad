package accesscontrols

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a document may nest. Genuine ones stay below twelve.
const maxDepth = 64

// errTree says that a text is no JSON that we read. It holds nothing of it.
var errTree = errors.New("is not strict JSON, or nests too deep")

// parse reads a JSON text as a tree of map[string]any, []any, string, bool and
// nil, with numbers as they were written: a jsontext.Value.
func parse(text []byte) (any, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	tree, err := readTree(dec, 0)
	if err != nil {
		return nil, errTree
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errTree
	}
	return tree, nil
}

func readTree(dec *jsontext.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTree
	}
	switch dec.PeekKind() {
	case jsontext.KindNumber:
		v, err := dec.ReadValue()
		return v.Clone(), err
	case jsontext.KindBeginObject:
		return readObject(dec, depth)
	case jsontext.KindBeginArray:
		return readArray(dec, depth)
	}
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindNull:
		return nil, nil
	}
	return nil, errTree
}

func readObject(dec *jsontext.Decoder, depth int) (any, error) {
	object := map[string]any{}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if object[name], err = readTree(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return object, err
}

func readArray(dec *jsontext.Decoder, depth int) (any, error) {
	array := []any{}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		element, err := readTree(dec, depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, element)
	}
	_, err := dec.ReadToken()
	return array, err
}

// encode writes a tree such that equal trees give equal bytes.
func encode(tree any) jsontext.Value {
	b, err := json.Marshal(tree, json.Deterministic(true))
	if err != nil {
		return jsontext.Value("null") // it came from JSON
	}
	return b
}

// member returns the value of an object's member, whatever the case of its
// name. Of two that differ in case only it takes the one spelled like name.
func member(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	spelled, found := "", false
	for other := range object {
		if len(other) == len(name) && strings.EqualFold(other, name) && (!found || other < spelled) {
			spelled, found = other, true
		}
	}
	if !found {
		return nil
	}
	return object[spelled]
}

func sortedKeys(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// textOf returns a string, or a number as text. Others are "".
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case jsontext.Value:
		return string(v)
	}
	return ""
}

// at follows names into a tree, nil if it has no such place.
func at(tree any, names ...string) any {
	for _, name := range names {
		object, _ := tree.(map[string]any)
		tree = member(object, name)
	}
	return tree
}

// text is a string, or a number: CAS writes ids of firms both ways.
type text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := readTree(dec, 0)
	*t = text(textOf(v))
	return err
}

// words is a list of strings, or a string with blanks between them.
type words []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (w *words) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := readTree(dec, 0)
	if v == nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	*w = words{}
	for _, element := range list {
		*w = append(*w, strings.Fields(textOf(element))...)
	}
	return err
}
