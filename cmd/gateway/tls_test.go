package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(dir, "ca.pem")}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's authority"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(t, template, a.file, "")
	return a
}

// sign makes a certificate; that of the authority signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate, certFile, keyFile string) (*x509.Certificate,
	*ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", der)
	if keyFile != "" {
		writePEM(t, keyFile, "PRIVATE KEY", keyDER)
	}
	return cert, key
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for 127.0.0.1.
func (a *authority) issue(t *testing.T, serial int64, certFile, keyFile string) {
	t.Helper()
	a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "a test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, certFile, keyFile)
}

// TestTLS serves with a certificate that is renewed, to clients that show one.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.issue(t, 10, cert, key)
	ca.issue(t, 20, filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	g := serve(t, fakeConfig(t, 1, "")+fmt.Sprintf("tls: {cert: %s, key: %s, client_ca: %s}\n", cert, key, ca.file))
	if !strings.HasPrefix(g.url, "https://") {
		t.Fatalf("it serves at %s", g.url)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	// ask sends a chat over a new connection and returns the server's serial number.
	ask := func(certificates ...tls.Certificate) (serial int64, err error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Post(g.url+chatPath, "application/json",
			strings.NewReader(chat("coding", "Hi", `,"stream":true`)))
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
			return 0, fmt.Errorf("%w after %q", err, text)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
	}
	if serial, err := ask(own); err != nil || serial != 10 {
		t.Errorf("%d, %v", serial, err)
	}
	if _, err := ask(); err == nil {
		t.Error("a client without a certificate is served")
	}
	ca.issue(t, 11, cert, key)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		serial, err := ask(own)
		if err != nil {
			t.Fatal(err)
		}
		if serial == 11 {
			break
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the renewed certificate is not served after a minute")
		}
	}
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for len(g.logged("changed TLS files cannot be used, those before stay in force")) == 0 {
		if serial, err := ask(own); err != nil || serial != 11 {
			t.Fatalf("with a broken file: %d, %v", serial, err)
		}
		<-tick.C
	}
}

// logged returns the log's lines with that message, so far.
func (g *gatewayProcess) logged(msg string) (lines []map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range g.lines {
		if line["msg"] == msg {
			lines = append(lines, line)
		}
	}
	return lines
}

// said returns what a gateway that has ended printed beside its log.
func (g *gatewayProcess) said() []string {
	<-g.drained
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text
}

func TestTLSFilesThatDoNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.issue(t, 10, cert, filepath.Join(dir, "other.pem"))
	ca.issue(t, 11, filepath.Join(dir, "unused.pem"), key)
	for config, want := range map[string]string{
		fmt.Sprintf("tls: {cert: %s, key: %s}\n", cert,
			key): "private key does not match",
		fmt.Sprintf("tls: {cert: %s}\n", cert): "must be set " +
			"together",
		fmt.Sprintf("tls: {client_ca: %s}\n", cert): "client_ca " +
			"needs them",
		fmt.Sprintf("tls: {cert: %s, key: %s, client_ca: %s}\n", filepath.Join(dir, "unused.pem"), key,
			key): "no certificate in it",
	} {
		for _, command := range []string{"check", "serve"} {
			g := run(t, command, "--config", write(t, fakeConfig(t, 1, "")+config))
			if code := g.end(); code != 1 {
				t.Errorf("%s of %s: exit code %d", command, config, code)
			}
			if text := strings.Join(g.said(), "\n"); !strings.Contains(text, want) {
				t.Errorf("%s of %s says %q, want %q", command, config, text, want)
			}
		}
	}
}
