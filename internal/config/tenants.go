package config

import (
	"net"
	"net/netip"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
)

// Tenant is a person or customer. Its keys are in Keys, or are made with the admin
// API.
type Tenant struct {
	// Name is what logs, usage and the admin API call it, as a model may be named.
	// Required.
	Name string `mapstructure:"name"`
	// Keys are the SHA-256 of its keys, 64 lower-case hex digits each. The file may
	// write sha256: before them, and use capitals. Default none.
	Keys []string `mapstructure:"keys"`
	// Models are the names of models that it may use; * stands for any text. Others
	// do not exist for it. Default none, which allows all.
	Models []string `mapstructure:"models"`
	// Adapter is its own: what the base's name and "mine" mean to it. Default "",
	// which is none.
	Adapter string `mapstructure:"adapter"`
	// RequestsPerMinute and TokensPerMinute bound any 60 seconds; 0 is no bound.
	// Default 0.
	RequestsPerMinute int `mapstructure:"requests_per_minute"`
	TokensPerMinute   int `mapstructure:"tokens_per_minute"`
	// Concurrency bounds its requests at once, those that wait included; 0 is no
	// bound. Default 0.
	Concurrency int `mapstructure:"concurrency"`
	// MonthlyTokens is its budget of tokens in a calendar month, UTC; 0 is no bound.
	// Default 0.
	MonthlyTokens int `mapstructure:"monthly_tokens"`
	// Weight is its share against other tenants when there is not enough for all,
	// from 0.1 to 10. Default 1.
	Weight float64 `mapstructure:"weight"`
	// Priority goes before weights, from -10 to 10: each step counts as
	// Scheduler.Aging that its requests have waited longer. Default 0.
	Priority int `mapstructure:"priority"`
}

// Auth is about who may ask.
type Auth struct {
	// Open lets everybody in who can reach Listen though that is an address that
	// other machines can reach and there are no tenants. Default false.
	Open bool `mapstructure:"open"`
	// Hosts are further names by which requests without keys may call a gateway that
	// listens on a loopback address, such as a proxy in front of it hands on. A host's
	// name or address each, without a port. Default none: localhost and loopback
	// addresses only.
	Hosts []string `mapstructure:"hosts"`
}

// Usage is about the account that is kept of what requests took.
type Usage struct {
	// Retention is how long it is kept, request by request; 0 is for ever. Default
	// 2160h, 90 days.
	Retention time.Duration `mapstructure:"retention"`
}

// tenants checks all of them, and that nobody can ask who should not.
func (k *checker) tenants(c *Config) {
	names, keys := map[string]string{}, map[string]string{}
	for i := range c.Tenants {
		t := &c.Tenants[i]
		at := index("tenants", i)
		if err := checkName(t.Name); t.Name == "" {
			k.add(at+".name", "must be set: the tenant's name")
		} else if err != nil {
			k.add(at+".name", "%v", err)
		} else if other, twice := names[t.Name]; twice {
			k.add(at+".name", "already used by %s", other)
		} else {
			names[t.Name] = at + ".name"
		}
		for j := range t.Keys {
			key := index(at+".keys", j)
			k.digest(key, &t.Keys[j])
			if other, twice := keys[t.Keys[j]]; twice {
				k.add(key, "already used by %s", other)
			}
			keys[t.Keys[j]] = key
		}
		for _, b := range []struct {
			key   string
			value int
		}{
			{"requests_per_minute", t.RequestsPerMinute}, {"tokens_per_minute", t.TokensPerMinute},
			{"concurrency", t.Concurrency}, {"monthly_tokens", t.MonthlyTokens},
		} {
			if b.value < 0 {
				k.add(at+"."+b.key, "must not be negative; 0 is no bound")
			}
		}
		k.weight(at, t.Weight)
		k.between(at+".priority", t.Priority, -10, 10)
	}
	for i, name := range c.Auth.Hosts {
		if _, err := netip.ParseAddr(name); err != nil && !hostname.MatchString(name) {
			k.add(index("auth.hosts", i), "must be a host's name or address, without a port")
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err == nil && len(c.Tenants) == 0 && !c.Auth.Open && !httpkit.Loopback(host) {
		k.add("listen", "can be reached from other machines, and no keys are asked for: set tenants, or auth.open to let "+
			"everybody in, or listen on 127.0.0.1")
	}
	k.notNegative("usage.retention", c.Usage.Retention)
}

// Local reports whether only this machine reaches Listen, in plain HTTP.
func (c *Config) Local() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err == nil && httpkit.Loopback(host) && c.TLS == TLS{}
}
