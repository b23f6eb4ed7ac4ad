package schemas

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// object is a JSON object, whose members are written by name.
type object = map[string]any

func ref(to string) object { return object{"$ref": to} }

// asyncDocument is an AsyncAPI document, in the order in which it is printed.
// https://www.asyncapi.com/docs/reference/specification/v3.0.0
type asyncDocument struct {
	AsyncAPI           string            `json:"asyncapi"`
	Info               object            `json:"info"`
	DefaultContentType string            `json:"defaultContentType"`
	Servers            object            `json:"servers"`
	Channels           map[string]object `json:"channels"`
	Operations         map[string]object `json:"operations"`
	Components         object            `json:"components"`
}

func asyncAPIDocument(t *testing.T) asyncDocument {
	t.Helper()
	doc := asyncDocument{
		AsyncAPI: "3.0.0",
		Info: object{
			"title":   "Postern",
			"version": "1.0.0",
			"description": "What Postern publishes to NATS JetStream. Who subscribes gets everything at least once, in the order of each " +
				"source; who keys on the id gets each fact once. Within version 1 of a type fields are only added.",
			"license": object{"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
		},
		DefaultContentType: ContentType,
		Servers: object{"nats": object{
			"host": "127.0.0.1:4222", "protocol": "nats",
			"description": "The embedded server as README configures it, or the one that nats.url names.",
		}},
		Channels:   map[string]object{},
		Operations: map[string]object{},
	}
	messages := object{}
	for _, d := range Definitions() {
		name := d.Type.Versioned()
		messages[name] = eventMessage(d, "")
		switch d.Type.Stream() {
		case StreamOps:
			if d.Type.Entity() == "operator" {
				doc.channel(string(d.Type), StreamOps, ReservedSource+"."+d.Type.Event(), d.Meaning, name)
			} else {
				doc.channel(string(d.Type), StreamOps, "{source}."+d.Type.Event(), d.Meaning, name)
			}
		default:
			tail := "{source}." + string(d.Type) + ".{key}"
			doc.channel(string(d.Type), StreamEvents, tail, d.Meaning, name)
			messages[name+".restricted"] = eventMessage(d, " What not everybody may see: data.personal, data.native or both.")
			doc.channel(string(d.Type)+".restricted", StreamRestricted, tail,
				d.Meaning+" It is there if the event on "+string(StreamEvents)+" has data.restricted.", name+".restricted")
		}
	}
	for _, r := range []struct {
		stream              Stream
		tail, name, meaning string
		header              []string
	}{
		{StreamRaw, "{source}", "raw", "A delivery that was authentic, sealed.", []string{HeaderDelivery, HeaderChannel, HeaderReceived}},
		{
			StreamQuarantine, "{source}.{reason}", "quarantine", "A delivery that could not become an event, sealed; it goes when it is released or discarded.",
			[]string{HeaderDelivery, HeaderChannel, HeaderReceived, HeaderReason},
		},
		{
			StreamRejected, "{source}", "rejected", "A push that was refused though its caller's address is allowed, sealed.",
			[]string{HeaderReceived, HeaderReason, HeaderDetail},
		},
	} {
		messages[r.name] = object{
			"name": r.name, "summary": r.meaning, "contentType": "application/octet-stream",
			"headers": headerSchema(append([]string{HeaderMsgID}, r.header...), nil),
			"payload": object{"type": "string", "format": "binary", "description": "Opened with the seal keys only: postern quarantine show, rejected show, events raw."},
		}
		doc.channel(r.name, r.stream, r.tail, r.meaning, r.name)
	}
	doc.Components = object{"messages": messages, "parameters": asyncParameters(), "schemas": object{
		"headers": headerSchema(
			[]string{HeaderMsgID, HeaderContentType, "ce-id", "ce-source", "ce-subject", "ce-time", "ce-type"},
			[]string{HeaderChannel, HeaderFacets}),
	}}
	return doc
}

// channel adds a channel with one message, which is sent there.
func (doc asyncDocument) channel(name string, s Stream, tail, meaning, message string) {
	parameters := object{}
	for _, parameter := range []string{"source", "key", "reason"} {
		if strings.Contains(tail, "{"+parameter+"}") {
			parameters[parameter] = ref("#/components/parameters/" + parameter)
		}
	}
	channel := object{
		"address": s.Prefix() + "." + tail, "title": name, "description": meaning,
		"servers":  []any{ref("#/servers/nats")},
		"messages": object{"message": ref("#/components/messages/" + message)},
		"x-stream": string(s),
	}
	if len(parameters) > 0 {
		channel["parameters"] = parameters
	}
	doc.Channels[name] = channel
	doc.Operations["publish."+name] = object{
		"action": "send", "channel": ref("#/channels/" + name), "summary": meaning,
		"messages": []any{ref("#/channels/" + name + "/messages/message")},
	}
}

func eventMessage(d Definition, more string) object {
	return object{
		"name": "postern." + d.Type.Versioned(), "title": string(d.Type), "summary": d.Meaning + more, "contentType": ContentType,
		"headers": ref("#/components/schemas/headers"),
		"payload": ref("/schemas/" + d.Type.Versioned() + ".json"),
	}
}

func asyncParameters() object {
	var reasons []any
	for _, r := range Reasons() {
		reasons = append(reasons, string(r))
	}
	return object{
		"source": object{"description": "The name of a configured source: a-z, 0-9 and dashes."},
		"key":    object{"description": "The entity's key, or = and 22 characters of its hash if it can't stand in a subject."},
		"reason": object{"description": "Why it could not become an event.", "enum": reasons},
	}
}

// headerMeanings says what the headers mean.
var headerMeanings = map[string]object{
	HeaderMsgID:       {"description": "The id by which JetStream drops repeats: that of the event."},
	HeaderContentType: {"const": ContentType},
	"ce-id":           {"description": "The fact's id: the same whenever and however it is told."},
	"ce-source":       {"description": "/postern/ and the name of the source."},
	"ce-subject":      {"description": "The entity and its key; what may not stand in a header is percent-encoded."},
	"ce-time":         {"description": "When it happened, as the platform said it.", "format": "date-time"},
	"ce-type":         {"description": "The type with its version: postern.process.succeeded.v1."},
	HeaderChannel: {
		"description": "How we heard of it; absent from what no delivery told.",
		"enum":        []any{string(ChannelPush), string(ChannelPoll), string(ChannelReplay), string(ChannelBackfill)},
	},
	HeaderFacets:   {"description": "Short hashes by which two tellings of one fact are compared."},
	HeaderDelivery: {"description": "The id of the delivery."},
	HeaderReceived: {"description": "When it arrived.", "format": "date-time"},
	HeaderReason:   {"description": "Why it is there."},
	HeaderDetail:   {"description": "What was wrong, in a few words."},
}

func headerSchema(required, optional []string) object {
	properties := object{}
	for _, name := range slices.Concat(required, optional) {
		of := object{"type": "string"}
		for keyword, value := range headerMeanings[name] {
			of[keyword] = value
		}
		properties[name] = of
	}
	return object{"type": "object", "required": required, "properties": properties}
}

func TestAsyncAPIIsThatOfTheTypes(t *testing.T) {
	want, err := json.Marshal(asyncAPIDocument(t), jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("asyncapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := AsyncAPI(); !bytes.Equal(want, got) {
		t.Errorf("asyncapi.json is out of date; run: go generate ./schemas (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
}
