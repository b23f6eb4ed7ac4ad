package corastone_test

import (
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

func TestOnlyAnEnvelopeThatEverybodyReadsAlikeIsChecked(t *testing.T) {
	webhook := open(t, settings(t))
	e := sign(t, notification(`{"error":{"errorId":"a"}}`))
	good := string(e.Body())
	insert := func(member string) string { return strings.TrimSuffix(good, "\n}") + ",\n  " + member + "\n}" }
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("envelope has no %s", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(strings.TrimRight(e.Signature, "=")) - 1
	loose := e.Signature[:last] + string(alphabet[strings.IndexByte(alphabet, e.Signature[last])^1]) + e.Signature[last+1:]
	for name, c := range map[string]struct{ body, want string }{
		"as it is":                 {good, ""},
		"space around":             {"\r\n " + good + "\n\n", ""},
		"another member":           {insert(`"Other" : {"Type":"x","a":[1,{"b":null}]}`), ""},
		"a name in another case":   {insert(`"type" : "SubscriptionConfirmation"`), ""},
		"nested 64 deep":           {insert(`"Other" : ` + strings.Repeat("[", 63) + strings.Repeat("]", 63)), ""},
		"brackets in a string":     {insert(`"Other" : "` + strings.Repeat("[{", 99) + `"`), ""},
		"other ways to write":      {replace(`"Type" : "Notification"`, `"Typ\u0065":"\u004eotification"`), ""},
		"nested 65 deep":           {insert(`"Other" : ` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), "uncheckable"},
		"empty":                    {"", "uncheckable"},
		"no JSON":                  {"Type=Notification", "uncheckable"},
		"a list":                   {"[" + good + "]", "uncheckable"},
		"a string":                 {`"` + strings.Repeat("x", 40) + `"`, "uncheckable"},
		"a bare entry":             {`{"error":{"errorId":"a"}}`, "uncheckable"},
		"byte order mark":          {"\ufeff" + good, "uncheckable"},
		"trailing object":          {good + "{}", "uncheckable"},
		"trailing comma":           {strings.TrimSuffix(good, "\n}") + ",\n}", "uncheckable"},
		"duplicate name":           {insert(`"Message" : "x"`), "uncheckable"},
		"duplicate name, escaped":  {insert(`"Messag\u0065" : "x"`), "uncheckable"},
		"duplicate name, deep":     {insert(`"Other" : {"a":1,"a":1}`), "uncheckable"},
		"duplicate unknown name":   {insert(`"Other" : 1, "Other" : 1`), "uncheckable"},
		"not UTF-8":                {insert("\"Other\" : \"\xff\""), "uncheckable"},
		"lone surrogate":           {insert(`"Other" : "\udc00"`), "uncheckable"},
		"NUL":                      {insert(`"Other" : "\u0000"`), "uncheckable"},
		"NUL in a name":            {insert(`"Oth\u0000er" : ""`), "uncheckable"},
		"escape character":         {insert(`"Other" : "\u001B"`), "uncheckable"},
		"form feed":                {insert(`"Other" : "\f"`), "uncheckable"},
		"backspace":                {insert(`"Other" : "\b"`), "uncheckable"},
		"raw control character":    {insert("\"Other\" : \"\x01\""), "uncheckable"},
		"U+FFFF":                   {insert(`"Other" : "\uffff"`), "uncheckable"},
		"U+FFFE, raw":              {insert("\"Other\" : \"\uFFFE\""), "uncheckable"},
		"cut":                      {good[:len(good)-1], "uncheckable"},
		"Type unknown":             {replace(`"Notification"`, `"Other"`), "uncheckable"},
		"Type in another case":     {replace(`"Notification"`, `"notification"`), "uncheckable"},
		"Type named otherwise":     {replace(`"Type"`, `"type"`), "uncheckable"},
		"Type only nested":         {replace(`"Type" : "Notification"`, `"Other" : {"Type" : "Notification"}`), "uncheckable"},
		"MessageId empty":          {replace(e.MessageID, ""), "uncheckable"},
		"MessageId long":           {replace(e.MessageID, strings.Repeat("0", 201)), "uncheckable"},
		"TopicArn missing":         {replace(`"TopicArn"`, `"Topic"`), "uncheckable"},
		"Message null":             {replace(`"Message" : `, `"Message" : null, "Other" : `), "uncheckable"},
		"Message a number":         {replace(`"Message" : `, `"Message" : 1, "Other" : `), "uncheckable"},
		"Timestamp missing":        {replace(`"Timestamp"`, `"Time"`), "uncheckable"},
		"Subject a number":         {replace(`"Subject" : `, `"Subject" : 1, "Other" : `), "uncheckable"},
		"Subject removed":          {replace(`"Subject"`, `"Other"`), "signature"},
		"confirmation, no Token":   {replace(`"Notification"`, `"SubscriptionConfirmation"`), "uncheckable"},
		"Signature missing":        {replace(`"Signature"`, `"Signed"`), "signature"},
		"Signature empty":          {replace(e.Signature, ""), "signature"},
		"Signature not base64":     {replace(e.Signature, "%"), "signature"},
		"Signature of loose bits":  {replace(e.Signature, loose), "signature"},
		"Signature short":          {replace(e.Signature, "AAAA"), "signature"},
		"Signature cut":            {replace(e.Signature, e.Signature[4:]), "signature"},
		"SignatureVersion missing": {replace(`"SignatureVersion"`, `"Version"`), "signature"},
		"SignatureVersion other":   {replace(`"SignatureVersion" : "1"`, `"SignatureVersion" : "3"`), "signature"},
		"SignatureVersion swapped": {replace(`"SignatureVersion" : "1"`, `"SignatureVersion" : "2"`), "signature"},
		"SignatureVersion number":  {replace(`"SignatureVersion" : "1"`, `"SignatureVersion" : 1`), "uncheckable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webhook.Authenticate(handlers.Request{Body: []byte(c.body), Received: received})
			check(t, err, c.want)
		})
	}
}

// TestNoOtherSignatureVersionIsTakenForOneOfTheTwo, whichever hash was signed.
func TestNoOtherSignatureVersionIsTakenForOneOfTheTwo(t *testing.T) {
	webhook := open(t, settings(t))
	for _, signed := range []string{"1", "2"} {
		for _, said := range []string{"", "0", "3", "01", "02", " 1", "2 ", "1.0", "SHA256"} {
			e := notification(`{"error":{"errorId":"a"}}`)
			e.SignatureVersion = signed
			e = sign(t, e)
			e.SignatureVersion = said
			_, err := webhook.Authenticate(request(e))
			check(t, err, "signature")
		}
	}
}

// TestLambdaSpellingCountsOnlyWhereTheOtherIsAbsent, for the one of these URLs
// that is signed.
func TestLambdaSpellingCountsOnlyWhereTheOtherIsAbsent(t *testing.T) {
	webhook := open(t, settings(t))
	e := corastonetest.NewNode(signer(t), corastonetest.Topic, 1).Confirmation(corastonetest.TypeSubscriptionConfirmation)
	e.Timestamp = sent
	body := string(sign(t, e).Body())
	for name, c := range map[string]struct{ body, want string }{
		"canonical":         {body, ""},
		"Lambda's":          {strings.Replace(body, "SubscribeURL", "SubscribeUrl", 1), ""},
		"both":              {strings.Replace(body, `"SubscribeURL"`, `"SubscribeUrl" : "x", "SubscribeURL"`, 1), ""},
		"both, other right": {strings.Replace(body, `"SubscribeURL"`, `"SubscribeURL" : "x", "SubscribeUrl"`, 1), "signature"},
		"neither":           {strings.Replace(body, `"SubscribeURL"`, `"subscribeURL"`, 1), "uncheckable"},
	} {
		_, err := webhook.Authenticate(handlers.Request{Body: []byte(c.body), Received: received})
		t.Run(name, func(t *testing.T) { check(t, err, c.want) })
	}
}
