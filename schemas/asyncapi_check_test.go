package schemas

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

func readAsyncAPI(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at returns what a pointer like "#/channels/x" leads to, nil if nowhere.
func at(doc object, pointer string) any {
	var v any = doc
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "#/"), "/") {
		o, _ := v.(object)
		v = o[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	return v
}

// references returns every $ref below v.
func references(v any) []string {
	var list []string
	switch v := v.(type) {
	case object:
		for name, below := range v {
			if to, ok := below.(string); ok && name == "$ref" {
				list = append(list, to)
			}
			list = append(list, references(below)...)
		}
	case []any:
		for _, below := range v {
			list = append(list, references(below)...)
		}
	}
	return list
}

// resolved follows a $ref.
func resolved(t *testing.T, doc object, v any) object {
	t.Helper()
	o, _ := v.(object)
	if to, ok := o["$ref"].(string); ok {
		o, _ = at(doc, to).(object)
	}
	if o == nil {
		t.Fatalf("%v leads nowhere", v)
	}
	return o
}

func TestAsyncAPILeadsNowhereElse(t *testing.T) {
	doc := readAsyncAPI(t)
	refs := references(doc)
	if len(refs) < 100 {
		t.Fatalf("only %d references", len(refs))
	}
	for _, to := range refs {
		if name, ok := strings.CutPrefix(to, "/schemas/"); ok {
			if _, err := fs.Stat(JSON(), name); err != nil {
				t.Errorf("%s: %v", to, err)
			}
		} else if !strings.HasPrefix(to, "#/") || at(doc, to) == nil {
			t.Errorf("%s leads nowhere", to)
		}
	}
}

// What AsyncAPI 3.0 demands of the parts that are used.
func TestAsyncAPIHasWhatItMust(t *testing.T) {
	doc := readAsyncAPI(t)
	if doc["asyncapi"] != "3.0.0" || at(doc, "#/info/title") == nil || at(doc, "#/info/version") == nil {
		t.Errorf("%v, %v", doc["asyncapi"], doc["info"])
	}
	key := regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	for _, kind := range doc["components"].(object) {
		for name := range kind.(object) {
			if !key.MatchString(name) {
				t.Errorf("%q may not be a component's name", name)
			}
		}
	}
	channels, _ := doc["channels"].(object)
	used := map[string]bool{}
	for name, v := range channels {
		channel := v.(object)
		address, _ := channel["address"].(string)
		parameters, _ := channel["parameters"].(object)
		var inAddress []string
		for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(address, -1) {
			inAddress = append(inAddress, m[1])
		}
		slices.Sort(inAddress)
		if diff := cmp.Diff(inAddress, slices.Sorted(maps.Keys(parameters))); diff != "" {
			t.Errorf("%s: parameters (-address +described):\n%s", name, diff)
		}
		for _, m := range channel["messages"].(object) {
			message := resolved(t, doc, m)
			used[message["name"].(string)] = true
			if message["payload"] == nil || message["headers"] == nil || message["contentType"] == nil {
				t.Errorf("%s: its message is %v", name, message)
			}
		}
	}
	operations, _ := doc["operations"].(object)
	sent := map[string]bool{}
	for name, v := range operations {
		operation := v.(object)
		if operation["action"] != "send" {
			t.Errorf("%s: action is %v", name, operation["action"])
		}
		to := operation["channel"].(object)["$ref"].(string)
		sent[strings.TrimPrefix(to, "#/channels/")] = true
		for _, m := range operation["messages"].([]any) {
			if !strings.HasPrefix(m.(object)["$ref"].(string), to+"/messages/") {
				t.Errorf("%s: %v is no message of its channel", name, m)
			}
		}
	}
	if len(sent) != len(channels) {
		t.Errorf("%d of %d channels are sent to", len(sent), len(channels))
	}
	for _, d := range Definitions() {
		if !used["postern."+d.Type.Versioned()] {
			t.Errorf("%s is on no channel", d.Type)
		}
	}
	streams := map[string]bool{string(StreamReplay): true} // repeats what the others have
	for _, channel := range channels {
		streams[channel.(object)["x-stream"].(string)] = true
	}
	for _, s := range Streams() {
		if !streams[string(s)] {
			t.Errorf("%s has no channel", s)
		}
	}
}

// fits reports whether a subject is one of an address.
func fits(address, subject string) bool {
	pattern := regexp.QuoteMeta(address)
	pattern = regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(pattern, `[A-Za-z0-9_=-]+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(subject)
}

func TestWhatIsPublishedIsOnItsChannelWithItsHeaders(t *testing.T) {
	doc := readAsyncAPI(t)
	check := func(name string, m Message) {
		t.Helper()
		channel := resolved(t, doc, ref("#/channels/"+name))
		if address := channel["address"].(string); !fits(address, m.Subject) || channel["x-stream"] != string(m.Stream) {
			t.Errorf("%s: %s on %s, want %s on %v", name, m.Subject, m.Stream, address, channel["x-stream"])
		}
		headers := resolved(t, doc, resolved(t, doc, channel["messages"].(object)["message"])["headers"])
		known := headers["properties"].(object)
		for header := range m.Header {
			if known[header] == nil {
				t.Errorf("%s: the header %s is not described", name, header)
			}
		}
		for _, header := range headers["required"].([]any) {
			if m.Header[header.(string)] == nil {
				t.Errorf("%s: the header %s is missing", name, header)
			}
		}
	}
	for _, d := range Definitions() {
		e := exampleEvent(t, d)
		if d.Type.Stream() == StreamEvents && e.Restricted == nil {
			e.Restricted = &Restricted{Personal: object{"name": "x"}}
		}
		messages, err := e.Messages()
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range messages {
			check(string(d.Type)+[]string{"", ".restricted"}[i], m)
		}
	}
	r := Record{Source: "one", DeliveryID: "d", Channel: ChannelPush}
	check("raw", r.Raw())
	for _, reason := range Reasons() {
		check("quarantine", r.Quarantine(reason))
	}
	check("rejected", Rejected{Source: "one", ID: "x", Reason: "topic", Detail: "d"}.Message())
}
