package deploy_test

import (
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// receiver is a postern that runs.
type receiver struct {
	*process
	ingress, ops string // addresses
}

// startReceiver runs a receiver. More is merged into its configuration.
func startReceiver(t *testing.T, more string) receiver {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "sns.pem", signerCertificate(t))
	base := write(t, dir, "base.yaml", `
data_dir: data
ingress: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}
journal: {max_bytes: 256MiB, reserve: 1MiB}
log: {format: json}
sources:
  corastone:
    platform: corastone
    push:
      allow: [`+friend+`]
      topics: ["`+corastonetest.Topic+`"]
      signature: pinned
      certificates: [sns.pem]
`)
	return serve(t, "-c", base, "-c", write(t, dir, "more.yaml", more))
}

// serve runs a receiver with a configuration.
func serve(t *testing.T, args ...string) receiver {
	t.Helper()
	r := receiver{process: start(t, nil, must(t, buildPostern), append([]string{"serve"}, args...)...)}
	r.ingress, r.ops = r.logged("ingress listens"), r.logged("ops listens")
	return r
}
