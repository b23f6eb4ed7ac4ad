package corastone_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// bare is a push without an envelope.
func bare(entry []byte) handlers.Request {
	return handlers.Request{Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}}, Body: entry, Received: received}
}

func TestOnlyWhoKnowsTheSecretIsBelieved(t *testing.T) {
	const next = "the-next-secret-of-the-relay"
	both := open(t, headerSettings(t, secret, next))
	one := open(t, headerSettings(t, next))
	entry := []byte(`{"error":{"errorId":"a"}}`)
	for name, c := range map[string]struct {
		header http.Header
		both   string
		one    string
	}{
		"the secret":           {http.Header{"X-Push-Secret": {secret}}, "", "header"},
		"the next one":         {http.Header{"X-Push-Secret": {next}}, "", ""},
		"none":                 {http.Header{}, "header", "header"},
		"no headers at all":    {nil, "header", "header"},
		"empty":                {http.Header{"X-Push-Secret": {""}}, "header", "header"},
		"no values":            {http.Header{"X-Push-Secret": {}}, "header", "header"},
		"another":              {http.Header{"X-Push-Secret": {"something else that is long"}}, "header", "header"},
		"cut":                  {http.Header{"X-Push-Secret": {secret[1:]}}, "header", "header"},
		"longer":               {http.Header{"X-Push-Secret": {secret + " "}}, "header", "header"},
		"in another case":      {http.Header{"X-Push-Secret": {strings.ToUpper(secret)}}, "header", "header"},
		"both in one":          {http.Header{"X-Push-Secret": {secret + "," + next}}, "header", "header"},
		"right and then wrong": {http.Header{"X-Push-Secret": {secret, "x"}}, "header", "header"},
		"wrong and then right": {http.Header{"X-Push-Secret": {"x", next}}, "header", "header"},
		"right twice":          {http.Header{"X-Push-Secret": {next, next}}, "header", "header"},
		"in another header":    {http.Header{"X-Secret": {secret}}, "header", "header"},
		"its digest": {http.Header{"X-Push-Secret": {func() string {
			sum := sha256.Sum256([]byte(secret))
			return hex.EncodeToString(sum[:])
		}()}}, "header", "header"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range [][]byte{entry, notification(string(entry)).Body(), []byte("no JSON"), nil} {
				r := handlers.Request{Header: c.header, Body: body, Received: received}
				_, err := both.Authenticate(r)
				check(t, err, c.both)
				_, err = one.Authenticate(r)
				check(t, err, c.one)
			}
		})
	}
}

func TestEveryChangeOfTheSecretIsRefused(t *testing.T) {
	webhook := open(t, headerSettings(t, secret, "the-next-secret-of-the-relay"))
	for i := range len(secret) {
		for bit := range 8 {
			changed := []byte(secret)
			changed[i] ^= 1 << bit
			r := bare([]byte(`{"error":{"errorId":"a"}}`))
			r.Header.Set("X-Push-Secret", string(changed))
			_, err := webhook.Authenticate(r)
			check(t, err, "header")
			if err != nil && strings.Contains(err.Error(), string(changed)) {
				t.Error("error holds what was given")
			}
		}
	}
}

// TestBareEntryIsTakenAsItIs: its id is that of SNS, or that of what it says.
func TestBareEntryIsTakenAsItIs(t *testing.T) {
	entry := []byte(`{"error":{"errorId":"a"}}`)
	sum := sha256.Sum256(entry)
	const id = "6f1d9a30-2b4c-5d6e-8f70-8192a3b4c5d6"
	knows := func(h http.Header) http.Header { h.Set("X-Push-Secret", secret); return h }
	for name, c := range map[string]struct {
		header http.Header
		id     string
		want   string
	}{
		"nothing":              {http.Header{}, hex.EncodeToString(sum[:]), ""},
		"an id":                {http.Header{"X-Amz-Sns-Message-Id": {id}}, id, ""},
		"an empty id":          {http.Header{"X-Amz-Sns-Message-Id": {""}}, hex.EncodeToString(sum[:]), ""},
		"the same id twice":    {http.Header{"X-Amz-Sns-Message-Id": {id, id}}, id, ""},
		"two ids":              {http.Header{"X-Amz-Sns-Message-Id": {id, "other"}}, "", "header"},
		"a long id":            {http.Header{"X-Amz-Sns-Message-Id": {strings.Repeat("a", 201)}}, "", "header"},
		"all of raw delivery":  {http.Header{"X-Amz-Sns-Message-Id": {id}, "X-Amz-Sns-Rawdelivery": {"true"}, "X-Amz-Sns-Message-Type": {"Notification"}, "X-Amz-Sns-Topic-Arn": {corastonetest.Topic}}, id, ""},
		"another topic":        {http.Header{"X-Amz-Sns-Topic-Arn": {corastonetest.Topic + "x"}}, "", "topic"},
		"a second topic":       {http.Header{"X-Amz-Sns-Topic-Arn": {corastonetest.Topic, corastonetest.Topic + "x"}}, "", "topic"},
		"a confirmation":       {http.Header{"X-Amz-Sns-Message-Type": {"SubscriptionConfirmation"}}, "", "header"},
		"an end":               {http.Header{"X-Amz-Sns-Message-Type": {"UnsubscribeConfirmation"}}, "", "header"},
		"compressed, they say": {http.Header{"Content-Encoding": {"gzip"}}, "", "uncheckable"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []*corastone.Settings{headerSettings(t), offSettings(t)} {
				a, err := open(t, s).Authenticate(handlers.Request{Header: knows(c.header), Body: entry, Received: received})
				check(t, err, c.want)
				want := handlers.Authentic{Role: corastone.RoleEntry, TransportID: c.id, Content: sum}
				if c.want != "" {
					want = handlers.Authentic{}
				}
				if diff := cmp.Diff(want, a); diff != "" {
					t.Errorf("%s (-want +got):\n%s", s.Push.Signature, diff)
				}
			}
		})
	}
}

// TestSignedOrNotAnEnvelopeIsTheSame: id and content don't depend on the way it
// was authenticated, so that changing it makes no repeat a conflict.
func TestSignedOrNotAnEnvelopeIsTheSame(t *testing.T) {
	sns := newSNS(t)
	e := notification(`{"error":{"errorId":"a"}}`)
	r := request(sns.sign(t, e))
	r.Header.Set("X-Push-Secret", secret)
	var all []handlers.Authentic
	for _, webhook := range []handlers.Webhook{
		open(t, settings(t)), sns.open(t), open(t, headerSettings(t)), open(t, offSettings(t)),
	} {
		a, err := webhook.Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	for _, a := range all[1:] {
		if diff := cmp.Diff(all[0], a); diff != "" {
			t.Errorf("differs from the first:\n%s", diff)
		}
	}
}

// TestUnsignedEnvelopesAreStillChecked for what needs no signature.
func TestUnsignedEnvelopesAreStillChecked(t *testing.T) {
	good := notification(`{"error":{"errorId":"a"}}`)
	elsewhere := good
	elsewhere.TopicARN += "-other"
	differs := request(good)
	differs.Header.Set("x-amz-sns-message-id", "other")
	late := good
	late.Timestamp = "2025-02-03T04:05:06.789Z"
	for name, c := range map[string]struct {
		request handlers.Request
		want    string
		stale   bool
	}{
		"good":             {request(good), "", false},
		"without headers":  {handlers.Request{Header: http.Header{}, Body: good.Body(), Received: received}, "", false},
		"topic":            {request(elsewhere), "topic", false},
		"headers disagree": {differs, "header", false},
		"late":             {request(late), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []*corastone.Settings{headerSettings(t), offSettings(t)} {
				c.request.Header.Set("X-Push-Secret", secret)
				a, err := open(t, s).Authenticate(c.request)
				check(t, err, c.want)
				if a.Stale != c.stale || c.want == "" && a.Role != corastone.RoleNotification {
					t.Errorf("%s: %+v", s.Push.Signature, a)
				}
			}
		})
	}
}

// TestNoEnvelopeIsNeverTakenWhereSignaturesCount, secret or not.
func TestNoEnvelopeIsNeverTakenWhereSignaturesCount(t *testing.T) {
	for _, webhook := range []handlers.Webhook{open(t, settings(t)), newSNS(t).open(t)} {
		r := bare([]byte(`{"error":{"errorId":"a"}}`))
		r.Header.Set("X-Push-Secret", secret)
		_, err := webhook.Authenticate(r)
		check(t, err, "uncheckable")
	}
}

func TestHeaderThatNobodyCouldSetDoesNotOpen(t *testing.T) {
	named := func(name string) *corastone.Settings {
		s := headerSettings(t)
		s.Push.Header.Name = name
		return s
	}
	for name, c := range map[string]struct {
		settings *corastone.Settings
		want     string
	}{
		"no header":    {func() *corastone.Settings { s := headerSettings(t); s.Push.Header = nil; return s }(), "push.header "},
		"good":         {headerSettings(t), ""},
		"no secrets":   {func() *corastone.Settings { s := headerSettings(t); s.Push.Header.Secrets = nil; return s }(), "push.header.secrets"},
		"empty secret": {headerSettings(t, secret, ""), "push.header.secrets[1]"},
		"unread secret": {func() *corastone.Settings {
			s := headerSettings(t)
			s.Push.Header.Secrets[0] = handlers.Secret{File: "f"}
			return s
		}(), "push.header.secrets[0]"},
		"same secret":         {headerSettings(t, secret, secret), "push.header.secrets[1]"},
		"line in a secret":    {headerSettings(t, "one line\nand another line"), "push.header.secrets[0]"},
		"space around secret": {headerSettings(t, " "+secret), "push.header.secrets[0]"},
		"not ASCII":           {headerSettings(t, "größer als fünfzehn"), "push.header.secrets[0]"},
		"no name":             {named(""), "push.header.name"},
		"no token":            {named("X Push"), "push.header.name"},
		"a colon":             {named("X-Push:"), "push.header.name"},
		"Host":                {named("host"), "push.header.name"},
		"Content-Length":      {named("content-length"), "push.header.name"},
		"SNS's own":           {named("x-amz-sns-message-id"), "push.header.name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := corastone.Platform().Open("corastone", c.settings, handlers.Means{})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error does not name %q: %v", c.want, err)
			case err != nil && strings.Contains(err.Error(), secret):
				t.Errorf("error holds a secret: %v", err)
			}
		})
	}
}

func TestShortSecretsAreWarnedOf(t *testing.T) {
	source, err := corastone.Platform().Open("corastone", headerSettings(t, secret, "hunter2"), handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(source.Warnings); !strings.Contains(got, "push.header.secrets[1]") || strings.Contains(got, "secrets[0]") || strings.Contains(got, "hunter2") {
		t.Errorf("warnings %s", got)
	}
}

func TestOffIsWarnedOf(t *testing.T) {
	source, err := corastone.Platform().Open("corastone", offSettings(t), handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(source.Warnings, func(w string) bool { return strings.HasPrefix(w, "push.signature is off") }) {
		t.Errorf("warnings %q", source.Warnings)
	}
}
