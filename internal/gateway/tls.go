package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/config"
)

// certificates are read again when their files change. It is safe for concurrent
// use.
type certificates struct {
	cfg config.TLS
	log *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	print   string    // of the files that current was made of
	looked  time.Time // at the files last
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// newCertificates reads the files; it returns nil if there are none.
func newCertificates(cfg config.TLS, log *slog.Logger) (*certificates, error) {
	switch {
	case cfg == config.TLS{}:
		return nil, nil
	case cfg.Cert == "" || cfg.Key == "":
		return nil, errors.New("tls: cert and key must be set together, and client_ca needs them")
	}
	c := &certificates{cfg: cfg, log: log}
	current, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current, c.print, c.looked = current, c.prints(), time.Now()
	return c, nil
}

// config is what a listener uses, nil for none; each new connection gets the present
// files.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now(), nil },
	}
}

// now returns what the files say. What cannot be used leaves the one before.
func (c *certificates) now() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.current
	}
	c.looked = time.Now()
	print := c.prints()
	if print == c.print {
		return c.current
	}
	c.print = print
	next, err := c.load()
	if err != nil {
		c.log.Error("changed TLS files cannot be used, those before stay in force", "error", err)
		return c.current
	}
	c.log.Info("TLS files changed")
	c.current = next
	return next
}

// prints tell one state of the files from another without reading them.
func (c *certificates) prints() (all string) {
	for _, path := range []string{c.cfg.Cert, c.cfg.Key, c.cfg.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), " ")
		}
	}
	return all
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.Cert, c.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		NextProtos: []string{"http/1.1"}}
	if c.cfg.ClientCA == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(c.cfg.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("tls.client_ca: there is no certificate in it")
	}
	return cfg, nil
}
