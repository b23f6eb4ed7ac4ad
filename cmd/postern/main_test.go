package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

var update = flag.Bool("update", false, "write what was got into the golden files")

// fakeSettings are the settings of a platform that has all kinds of them.
type fakeSettings struct {
	Login  string            `yaml:"login" validate:"omitempty,min=3" doc:"Who we are."`
	Secret *handlers.Secret  `yaml:"secret" doc:"Password."`
	Files  []handlers.File   `yaml:"files" doc:"Certificates."`
	Check  string            `yaml:"check" validate:"oneof=all some off" insecure:"off" doc:"What is checked."`
	Every  handlers.Duration `yaml:"every" validate:"min=1s,max=1h" doc:"How often."`
	Big    handlers.Size     `yaml:"big" validate:"max=1048576"`
	From   string            `yaml:"from" validate:"omitempty,eq=now|datetime=2006-01-02"`
	Ratio  float64           `yaml:"ratio"`
	Paths  map[string]string `yaml:"paths" doc:"Where things are."`
	Rows   []fakeRow         `yaml:"rows" validate:"unique=Owner,dive"`
	Push   *fakePush         `yaml:"push"`
}

type fakeRow struct {
	Owner  string          `yaml:"owner" validate:"required"`
	Secret handlers.Secret `yaml:"secret"`
}

type fakePush struct {
	Allow []handlers.Prefix `yaml:"allow" validate:"required,min=1"`
}

// fake is a platform for tests. It opens what has a login.
func fake() handlers.Platform {
	return handlers.Platform{
		Name:     "fake",
		Settings: func() any { return &fakeSettings{Check: "all", Every: handlers.Duration(time.Minute)} },
		Open: func(name string, settings any, _ handlers.Means) (handlers.Source, error) {
			switch s := settings.(*fakeSettings); s.Login {
			case "":
				return handlers.Source{}, handlers.ErrNoPush
			case "bad":
				return handlers.Source{}, errors.Join(
					errors.New("files[0] is no certificate"), errors.New("can't be opened at all"))
			case "odd":
				return handlers.Source{Name: name, Warnings: []string{"login is odd", "an odd source"}}, nil
			default:
				src := handlers.Source{Name: name, Platform: "fake"}
				if s.Push != nil {
					src.Push = &handlers.Push{Allow: prefixes(s.Push.Allow)}
				}
				return src, nil
			}
		},
	}
}

// other is a platform without settings.
func other() handlers.Platform {
	return handlers.Platform{
		Name:     "other",
		Settings: func() any { return &struct{}{} },
		Open: func(name string, _ any, _ handlers.Means) (handlers.Source, error) {
			return handlers.Source{Name: name, Platform: "other"}, nil
		},
	}
}

func fakes() []handlers.Platform { return []handlers.Platform{fake(), other()} }

// command runs a command line in this process with the fake platforms.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err writer
	code = execute(context.WithoutCancel(t.Context()), args, &process{
		stdin: nil, stdout: &out, stderr: &err, environ: environ, platforms: fakes(),
	})
	return code, string(out), string(err)
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// write makes a file in the working directory, which is a test's own.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate returns a self-signed certificate and its key, in PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// sprintAll prints values with every verb that shows what is in them.
func sprintAll(values ...any) string {
	var out string
	for _, v := range values {
		out += fmt.Sprintf("%v %+v %#v %s\n", v, v, v, v)
	}
	return out
}
