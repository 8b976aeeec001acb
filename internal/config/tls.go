package config

import "os"

// TLS is about Listen. The files are read again when they change.
type TLS struct {
	// Cert and Key are PEM files, absolute: the certificate with those between it and
	// its authority, and its private key. That they fit each other is not checked
	// here. Default "", which is plain HTTP.
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
	// ClientCA is a PEM file, absolute, with the authorities of the certificates that
	// clients must show; "" asks for none. Default "".
	ClientCA string `mapstructure:"client_ca"`
}

func (k *checker) tls(t *TLS) {
	for _, f := range []struct {
		key  string
		path *string
	}{{"tls.cert", &t.Cert}, {"tls.key", &t.Key}, {"tls.client_ca", &t.ClientCA}} {
		if *f.path != "" {
			k.readable(f.key, f.path)
		}
	}
}

// readable makes path absolute and checks that there is a file to be read.
func (k *checker) readable(key string, path *string) {
	shown := k.shown(*path)
	*path = absolute(k.dir, *path)
	// Not opened before it is known to be a file: opening a pipe would block.
	info, err := os.Stat(*path)
	if err == nil && !info.Mode().IsRegular() {
		k.add(key, "%s is not a file", shown)
		return
	}
	if err == nil {
		_, err = head(*path, 1)
	}
	if err != nil {
		k.add(key, "cannot read %s: %v", shown, cause(err))
	}
}
