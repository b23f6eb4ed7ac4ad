package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"

	"github.com/seed75441868/postern/handlers"
)

const (
	maxSecretFile = 64 << 10
	maxOtherFile  = 4 << 20
	keySize       = 32
)

// complete reads the secrets and files that the configuration names.
func (l *loading) complete() {
	l.completeBelow(reflect.ValueOf(l.cfg).Elem(), "")
	for _, s := range l.cfg.Sources {
		l.completeBelow(reflect.ValueOf(s.Settings).Elem(), join("sources", s.Name))
	}
}

func (l *loading) completeBelow(v reflect.Value, path string) {
	each(v, path, field{}, func(v reflect.Value, path string, _ field) bool {
		if !v.CanAddr() { // in a map
			return true
		}
		switch at := v.Addr().Interface().(type) {
		case *handlers.Secret:
			l.secret(at, path)
		case *handlers.File:
			l.contents(at, path)
		case *TLS:
			l.pair(at.Cert, at.Key, path)
		case *ClientTLS:
			l.clientTLS(at, path)
		case *Outbound:
			at.roots = l.outboundRoots(at.CAFile, join(path, "ca_file"))
		}
		return true
	})
}

// secret reads a secret from where it is.
func (l *loading) secret(s *handlers.Secret, path string) {
	switch {
	case s.Env != "":
		value, ok := l.environ[s.Env]
		if !ok {
			l.faultAt(path, "names the environment variable %s, which is not set", s.Env)
		} else if value == "" {
			l.faultAt(path, "names the environment variable %s, which is empty", s.Env)
		}
		*s = s.WithValue(value)
	case s.File != "":
		data, err := l.read(s.File, maxSecretFile)
		if err != nil {
			l.missing(path, s.File, err)
			return
		}
		value := strings.TrimRight(string(data), "\r\n")
		if value == "" {
			l.faultAt(path, "names %s, which is empty", s.File)
		}
		l.private(s.File, path)
		*s = s.WithValue(value)
	}
}

// missing reports a file that can't be read.
func (l *loading) missing(path, file string, err error) {
	l.faultAt(path, "names %s, which %s", file, unreadable(err))
}

// private warns if others can use a file than its owner, and the group that may
// read it: who runs the receiver as another user gives it a group.
func (l *loading) private(file, path string) {
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS == "windows" || !info.Mode().IsRegular() || l.managed(file) {
		return
	}
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		l.warnAt(path, "names %s, which others may use (mode %04o); run `chmod 600 %s`", file, mode, file)
	}
}

// managed reports whether a file is where systemd, containers or Kubernetes put
// secrets. Who sees them there is not said by their modes.
func (l *loading) managed(file string) bool {
	for _, dir := range []string{"/run/credentials", "/run/secrets", "/var/run/secrets", l.environ["CREDENTIALS_DIRECTORY"]} {
		if dir != "" && inside(dir, file) {
			return true
		}
	}
	return false
}

// contents reads a file, or all certificates of a folder by name.
func (l *loading) contents(f *handlers.File, path string) {
	if f.Path == "" {
		return
	}
	info, err := l.stat(f.Path)
	if err != nil {
		l.missing(path, f.Path, err)
		return
	}
	files := []string{f.Path}
	if info.IsDir() {
		if files, err = l.folder(f.Path, pemEndings); err != nil {
			l.missing(path, f.Path, err)
			return
		}
		if len(files) == 0 {
			l.faultAt(path, "names the folder %s, which holds no *.pem, *.crt or *.cer", f.Path)
			return
		}
	}
	f.Contents = nil
	for _, file := range files {
		data, err := l.read(file, maxOtherFile)
		if err != nil {
			l.missing(path, file, err)
			continue
		}
		f.Contents = append(f.Contents, handlers.Contents{Path: file, Data: data})
	}
}

// pair checks a certificate and its key, and returns them if they are good.
func (l *loading) pair(cert, key Path, path string) tls.Certificate {
	if cert == "" || key == "" {
		return tls.Certificate{}
	}
	certPEM, err := l.read(string(cert), maxOtherFile)
	if err != nil {
		l.missing(join(path, "cert"), string(cert), err)
	}
	keyPEM, keyErr := l.read(string(key), maxOtherFile)
	if keyErr != nil {
		l.missing(join(path, "key"), string(key), keyErr)
	}
	if err != nil || keyErr != nil {
		return tls.Certificate{}
	}
	l.private(string(key), join(path, "key"))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		// The error names what is wrong with the PEM, and nothing of the key.
		l.faultAt(path, "has a certificate and a key that don't work together: %s",
			strings.TrimPrefix(firstLine(err), "tls: "))
	}
	return pair
}

func (l *loading) clientTLS(t *ClientTLS, path string) {
	t.roots = l.roots(t.CA, join(path, "ca"))
	if t.Cert != "" && t.Key != "" {
		pair := l.pair(t.Cert, t.Key, path)
		t.pair = &pair
	}
}

// roots reads certificates to trust; nil, those of the system, if file is
// empty.
func (l *loading) roots(file Path, path string) *x509.CertPool {
	if file == "" {
		return nil
	}
	data, err := l.read(string(file), maxOtherFile)
	if err != nil {
		l.missing(path, string(file), err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		l.faultAt(path, "names %s, which holds no certificate in PEM", file)
	}
	return pool
}

// key decodes a key. What is wrong with it is reported.
func (l *loading) key(s handlers.Secret, path string) []byte {
	if s.Value() == "" {
		return nil
	}
	key, err := decodeKey(s.Value())
	if err != nil {
		l.faultAt(path, "%s", err)
	}
	return key
}

// decodeKey decodes 32 bytes in base64. Its errors hold nothing of them.
func decodeKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("must be %d bytes in base64, as `openssl rand -base64 %d` makes them", keySize, keySize)
	}
	for _, b := range key {
		if b != 0 {
			return key, nil
		}
	}
	return nil, errors.New("must be a random key; this one is all zeros")
}
