package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/seed75441868/postern/handlers"
)

// askClients has handshakes ask callers for a certificate while a source wants
// one. It is verified for each push, by the rules of its source: a caller that
// pushes elsewhere needs none.
func (s *Server) askClients(cfg *tls.Config) {
	asking := cfg.Clone()
	asking.ClientAuth = tls.RequestClientCert
	// A session that was resumed would have the certificate of its beginning,
	// or none, if nobody asked then.
	asking.SessionTicketsDisabled = true
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if !s.roster.Load().asks {
			return nil, nil //nolint:nilnil // which means cfg itself
		}
		if own := unwrap(hello.Conn); own != nil {
			own.asked = true
		}
		return asking, nil
	}
}

// pool returns the roots of src's callers, nil if it asks for no certificate.
func pool(src handlers.Source) *x509.CertPool {
	if src.Push.ClientCAs == nil {
		return nil
	}
	p := x509.NewCertPool()
	for _, c := range src.Push.ClientCAs {
		p.AddCert(c)
	}
	return p
}

// errNotAsked: the handshake was before a source wanted a certificate. The
// next one will ask.
var errNotAsked = errors.New("caller was not asked for a certificate yet")

// checkClient returns nil if the caller has shown a certificate as the source
// wants it. That it has the key was seen in the handshake.
func (src *source) checkClient(r *http.Request) error {
	if src.clients == nil {
		return nil
	}
	own := connOf(r)
	if r.TLS == nil || own == nil {
		return refusedClient("caller does not speak TLS")
	}
	if !own.asked {
		return errNotAsked
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return refusedClient("caller shows no TLS certificate")
	}
	between := x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := r.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:         src.clients,
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return refusedClient("caller's TLS certificate is not one of client_ca, or not good now")
	}
	return nil
}

func refusedClient(detail string) error {
	return &handlers.RefusedError{Reason: handlers.ReasonCertificate, Detail: detail}
}
