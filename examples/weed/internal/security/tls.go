package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ServerTLS returns the mutual TLS settings of the internal (http+10000) port of a role, or nil when security.toml asks
// for none: grpc.ca, grpc.<role>.cert and grpc.<role>.key.
func (c Config) ServerTLS(role string) (*tls.Config, error) {
	cert, pool, err := c.pair("grpc." + role)
	if err != nil || cert == nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}

// ClientTLS returns the settings for calls to the internal port of other servers, or nil for plain HTTP. Peers are known
// by their authority and not by host name, since peers are usually listed by address.
func (c Config) ClientTLS(section string) (*tls.Config, error) {
	cert, pool, err := c.pair(section)
	if err != nil || cert == nil {
		return nil, err
	}
	verify := func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the peer sent no certificate")
		}
		intermediates := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates})
		return err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       []tls.Certificate{*cert},
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection:   verify,
	}, nil
}

func (c Config) pair(section string) (*tls.Certificate, *x509.CertPool, error) {
	certFile, keyFile, caFile := c.String(section+".cert"), c.String(section+".key"), c.String("grpc.ca")
	if certFile == "" && keyFile == "" {
		return nil, nil, nil
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", section, err)
	}
	pool, err := CertPool(caFile)
	return &cert, pool, err
}

// CertPool reads a PEM file of certificate authorities.
func CertPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: no certificate in %s", path)
	}
	return pool, nil
}
