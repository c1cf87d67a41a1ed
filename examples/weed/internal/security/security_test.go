package security

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	token := SignWrite("key", "1,ab", time.Minute)
	for name, c := range map[string]struct {
		key, token, fid string
		ok              bool
	}{
		"right":     {"key", token, "1,ab", true},
		"no key":    {"", "", "1,ab", true},
		"other fid": {"key", token, "1,ac", false},
		"other key": {"kex", token, "1,ab", false},
		"too late":  {"key", SignWrite("key", "1,ab", -time.Minute), "1,ab", false},
		"none":      {"key", "", "1,ab", false},
	} {
		if err := VerifyWrite(c.key, c.token, c.fid); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "security.toml")
	if err := os.WriteFile(path, []byte("[jwt.signing]\nkey = \"abc\"\nexpires = 10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Load(dir, "security")
	if c.String("jwt.signing.key") != "abc" || c.String("jwt.signing.expires") != "10" || c.String("jwt.none.key") != "" {
		t.Error(c)
	}
	t.Setenv("WEED_JWT_SIGNING_KEY", "env")
	if c.String("jwt.signing.key") != "env" {
		t.Error("the environment has to win")
	}
	if err := os.WriteFile(path, []byte("not toml ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := Load(dir, "security"); c != nil {
		t.Error("a broken file is skipped", c)
	}
}

// certificate writes a pair that parent signed, or a self-signed authority.
func certificate(t *testing.T, dir, name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "filer", ca, caKey)
	certificate(t, dir, "client", ca, caKey)
	certificate(t, dir, "stranger", nil, nil)
	config := func(name string) Config {
		pair := map[string]any{"cert": filepath.Join(dir, name+".crt"), "key": filepath.Join(dir, name+".key")}
		return Config{"grpc": map[string]any{"ca": filepath.Join(dir, "ca.crt"), "filer": pair, "client": pair}}
	}
	serve := func(name string) string {
		settings, err := config(name).ServerTLS("filer")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Listener = tls.NewListener(s.Listener, settings)
		s.Start()
		t.Cleanup(s.Close)
		return "https://" + s.Listener.Addr().String()
	}
	for _, c := range []struct {
		server, client string
		ok             bool
	}{{"filer", "client", true}, {"filer", "stranger", false}, {"stranger", "client", false}} {
		settings, err := config(c.client).ClientTLS("grpc.client")
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: settings}}
		response, err := client.Get(serve(c.server))
		if err == nil {
			response.Body.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.client, c.server, err)
		}
	}
	if settings, err := (Config{}).ServerTLS("filer"); settings != nil || err != nil {
		t.Error("no settings, no TLS")
	}
	if _, err := (Config{"grpc": map[string]any{"filer": map[string]any{"cert": "/none", "key": "/none"}}}).ServerTLS("filer"); err == nil {
		t.Error("certificates that are asked for but not there have to stop the server")
	}
}
