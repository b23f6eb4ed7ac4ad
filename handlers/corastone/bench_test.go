package corastone_test

import (
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// envelope2K is an envelope of about 2 KB, as a transaction that touched some
// thirty assets makes it.
func envelope2K(b *testing.B, s *corastonetest.Signer, version string) handlers.Request {
	b.Helper()
	n := corastonetest.NewNode(signer(b), corastonetest.Topic, 1)
	assets := make([]string, 45)
	for i := range assets {
		assets[i] = n.AssetID()
	}
	e := n.Notification(n.Process("createInvestment", "success", assets...))
	e.Timestamp, e.SignatureVersion = sent, version
	return request(signWith(b, s, e))
}

func BenchmarkAuthenticate(b *testing.B) {
	sns := newSNS(b)
	fetched := sns.open(b)
	for _, c := range []struct {
		name    string
		webhook handlers.Webhook
		signer  *corastonetest.Signer
		version string
	}{
		{"v1", open(b, settings(b)), signer(b), "1"},
		{"v2", open(b, settings(b)), signer(b), "2"},
		{"required", fetched, sns.signer, "2"},
		{"off", open(b, offSettings(b)), signer(b), "2"},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := envelope2K(b, c.signer, c.version)
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.webhook.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	d := delivery(corastone.RoleNotification, envelope2K(b, signer(b), "2").Body)
	normalize := corastone.Platform().Normalize
	b.SetBytes(int64(len(d.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := normalize(d); err != nil {
			b.Fatal(err)
		}
	}
}
