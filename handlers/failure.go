package handlers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// ClientError is why a source's HTTP client sends no request or takes no
// answer. Its text is a constant, and is told as it is.
type ClientError string

func (e ClientError) Error() string { return string(e) }

// timeoutError says that something took too long.
type timeoutError struct{}

func (timeoutError) Error() string   { return "it took too long" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// errUntold stands for what may quote a header or the first line of an answer,
// as the HTTP library's errors do, or an URL.
var errUntold = errors.New("the connection failed, or what came is no answer of HTTP")

// scrubbed returns what may be told of an error of the HTTP client: what kind
// of error it is if that is known, and nothing that came from the platform but
// what its certificate says. URLs may hold what nobody else may see, and so may
// answers.
func scrubbed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if kind := kindOf(err); kind != nil {
		return kind
	}
	return errUntold
}

// kindOf returns the error within err that is of a known kind, or nil.
func kindOf(err error) error {
	var ours ClientError
	if errors.As(err, &ours) {
		return ours
	}
	var op *net.OpError
	if errors.As(err, &op) {
		kind := kindOf(op.Err)
		if op.Op == "remote error" || op.Op == "local error" {
			kind = op.Err // an alert of TLS, which is a number
		}
		if kind == nil {
			return nil
		}
		return &net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: kind}
	}
	for _, sentinel := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, http.ErrSchemeMismatch} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	if kind := encryption(err); kind != nil {
		return kind
	}
	var name *net.DNSError
	var number syscall.Errno
	var late net.Error
	switch {
	case errors.As(err, &name):
		return name
	case errors.As(err, &number):
		return number
	case errors.As(err, &late) && late.Timeout():
		return timeoutError{}
	}
	return nil
}

// encryption returns the error within err that says why a certificate or TLS
// is not as it should be, or nil.
func encryption(err error) error {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid):
		return invalid
	case errors.As(err, &host):
		return host
	case errors.As(err, &unknown):
		return unknown
	case errors.As(err, &roots):
		return roots
	case errors.As(err, &record):
		return record
	}
	return nil
}
