package corastone_test

import (
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// envelope2K is an envelope of about 2 KB, as a transaction that touched some
// thirty assets makes it.
func envelope2K(b *testing.B, version string) handlers.Request {
	b.Helper()
	n := corastonetest.NewNode(signer(b), corastonetest.Topic, 1)
	assets := make([]string, 45)
	for i := range assets {
		assets[i] = n.AssetID()
	}
	e := n.Notification(n.Process("createInvestment", "success", assets...))
	e.Timestamp, e.SignatureVersion = sent, version
	return request(sign(b, e))
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, version := range []string{"1", "2"} {
		b.Run("v"+version, func(b *testing.B) {
			webhook := open(b, settings(b))
			r := envelope2K(b, version)
			b.SetBytes(int64(len(r.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := webhook.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	d := delivery(corastone.RoleNotification, envelope2K(b, "2").Body)
	normalize := corastone.Platform().Normalize
	b.SetBytes(int64(len(d.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := normalize(d); err != nil {
			b.Fatal(err)
		}
	}
}
