package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// baseline has what the cases of TestReloadTellsApplyFromRestart change.
const baseline = `
data_dir: data
ingress: {listen: ":8080", tls: {cert: c.pem, key: k.pem}}
ops: {listen: "127.0.0.1:8081", tokens: [{name: a, role: viewer, token: {file: t1}}]}
nats: {embedded: {listen: "127.0.0.1:4222", tls: {cert: c.pem, key: k.pem}, users: [{name: u, password: {file: p1}, allow: all}]}}
seal: {keys: [{file: s1}]}
log: {level: info}
sources:
  one: {platform: fake, login: aaa, secret: {file: t1}, files: [f1], rows: [{owner: x, secret: {file: t2}}], push: {allow: [10.0.0.1]}}
  two: {platform: other}
`

func TestReloadTellsApplyFromRestart(t *testing.T) {
	cert, key := certificate(t)
	cert2, key2 := certificate(t)
	secrets := map[string]string{
		"c.pem": cert, "k.pem": key, "c2.pem": cert2, "k2.pem": key2,
		"t1": "one of the tokens", "t2": "two of the tokens", "p1": "password", "f1": "file",
		"s1": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "s2": "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
	}
	for name, tt := range map[string]struct {
		from, to string            // in the configuration
		files    map[string]string // with other content
		want     []string
	}{
		"nothing":                    {want: nil},
		"a comment":                  {from: "log:", to: "# quiet\nlog:"},
		"the level":                  {from: "level: info", to: "level: warn", want: []string{"log.level changed"}},
		"the format":                 {from: "level: info", to: "format: text", want: []string{"log.format restart"}},
		"a listener":                 {from: ":8080", to: ":8443", want: []string{"ingress.listen restart"}},
		"TLS off":                    {from: ", tls: {cert: c.pem, key: k.pem}}\nops", to: "}\nops", want: []string{"ingress.tls restart"}},
		"another certificate":        {from: "8080\", tls: {cert: c.pem, key: k.pem}", to: "8080\", tls: {cert: c2.pem, key: k2.pem}", want: []string{"ingress.tls changed"}},
		"a renewed certificate":      {files: map[string]string{"c.pem": cert2, "k.pem": key2}, want: []string{"ingress.tls changed"}},
		"another certificate, NATS":  {from: "4222\", tls: {cert: c.pem, key: k.pem}", to: "4222\", tls: {cert: c2.pem, key: k2.pem}", want: []string{"nats.embedded.tls.cert restart", "nats.embedded.tls.key restart"}},
		"a token's content":          {files: map[string]string{"t1": "another token of theirs"}, want: []string{"ops.tokens changed", "sources.one changed"}},
		"a token's role":             {from: "role: viewer", to: "role: operator", want: []string{"ops.tokens changed"}},
		"no tokens":                  {from: "tokens: [{name: a, role: viewer, token: {file: t1}}]", to: "tokens: []", want: []string{"ops.tokens changed"}},
		"a user's password":          {files: map[string]string{"p1": "another"}, want: []string{"nats.embedded.users restart"}},
		"a seal key's content":       {files: map[string]string{"s1": "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="}, want: []string{"seal.keys restart"}},
		"one more seal key":          {from: "{file: s1}", to: "{file: s2}, {file: s1}", want: []string{"seal.keys restart"}},
		"a source's list":            {from: "10.0.0.1", to: "10.0.0.1, 10.0.0.2", want: []string{"sources.one changed"}},
		"a source's file":            {files: map[string]string{"f1": "other"}, want: []string{"sources.one changed"}},
		"a secret in a source's row": {files: map[string]string{"t2": "other"}, want: []string{"sources.one changed"}},
		"a source's platform":        {from: "two: {platform: other}", to: "two: {platform: fake, login: bbb}", want: []string{"sources.two changed"}},
		"a source that comes":        {from: "  two:", to: "  three: {platform: other}\n  two:", want: []string{"sources.three added"}},
		"a source that goes":         {from: "  two: {platform: other}\n", to: "", want: []string{"sources.two removed"}},
		"another name":               {from: "two:", to: "deux:", want: []string{"sources.deux added", "sources.two removed"}},
		"no sources":                 {from: baseline[strings.Index(baseline, "sources:"):], to: "sources: {}\n", want: []string{"sources.one removed", "sources.two removed"}},
		"a proxy":                    {from: "log:", to: "outbound: {proxy: 'http://127.0.0.1:3128'}\nlog:", want: []string{"outbound.proxy changed"}},
		"another folder":             {from: "data_dir: data", to: "data_dir: data2", want: []string{"data_dir restart"}},
		"the journal's limit":        {from: "log:", to: "journal: {max_bytes: 1GiB}\nlog:", want: []string{"journal.max_bytes restart"}},
		"who tells addresses":        {from: `":8080"`, to: `":8080", client_ip: forwarded, trusted_proxies: [10.0.0.0/8]`, want: []string{"ingress.client_ip restart", "ingress.trusted_proxies restart"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for file, text := range secrets {
				write(t, file, text)
			}
			load := func() *Config {
				cfg, err := loadConfig([]string{"a.yaml"}, nil, fakes())
				if err != nil {
					t.Fatal(err)
				}
				return cfg
			}
			write(t, "a.yaml", baseline)
			old := load()
			if !strings.Contains(baseline, tt.from) {
				t.Fatalf("the baseline has no %q", tt.from)
			}
			write(t, "a.yaml", strings.Replace(baseline, tt.from, tt.to, 1))
			for file, text := range tt.files {
				write(t, file, text)
			}
			next := load()
			var got []string
			waiting := awaiting(old, next)
			for _, c := range changes(old, next, waiting) {
				got = append(got, c.Setting+" "+c.How)
			}
			for _, s := range waiting {
				got = append(got, s+" restart")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
