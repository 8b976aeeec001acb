package gateway

import (
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/usage"
)

// tenants puts those of a configuration into the words of auth.
func tenants(cfg *config.Config) []auth.Tenant {
	list := make([]auth.Tenant, len(cfg.Tenants))
	for i, t := range cfg.Tenants {
		list[i] = auth.Tenant{
			Name: t.Name, Hashes: t.Keys, Models: t.Models, Adapter: t.Adapter,
			RequestsPerMinute: t.RequestsPerMinute, TokensPerMinute: t.TokensPerMinute,
			Concurrency: t.Concurrency, MonthlyTokens: int64(t.MonthlyTokens), Weight: t.Weight, Priority: t.Priority,
		}
	}
	return list
}

// rules puts those of a configuration, which has checked them, into the proxy's
// words.
func rules(cfg *config.Config) []*proxy.Rule {
	list := make([]*proxy.Rule, len(cfg.Rules))
	for i, r := range cfg.Rules {
		list[i] = &proxy.Rule{Match: r.Match, Model: r.Model, System: r.System, Set: edits(r.Set),
			Default: edits(r.Default), Strip: r.Strip}
	}
	return list
}

// edits are the members of a JSON object; "" has none.
func edits(text string) (list []rawjson.Edit) {
	object, ok := rawjson.Scan([]byte(text))
	if !ok {
		return nil
	}
	for _, key := range object.Keys() {
		value, _ := object.Raw(key)
		list = append(list, rawjson.Edit{Key: key, Value: value})
	}
	return list
}

// openAccounts reads the keys and what has been used this month.
func (g *gateway) openAccounts() error {
	spent, err := usage.Spent(g.state.SQL(), time.Now())
	if err != nil {
		return fmt.Errorf("state.dir: %w", err)
	}
	if g.auth, err = auth.New(auth.Options{Tenants: tenants(g.cfg), Store: keyStore{g.state}, Spent: spent}); err != nil {
		return fmt.Errorf("state.dir: %w", err)
	}
	g.needToken()
	g.usage = usage.New(g.state, g.cfg.Usage.Retention, g.log)
	return nil
}

// needToken sees to it that the admin API asks for a token where there are tenants.
func (g *gateway) needToken() {
	if g.auth.Required() {
		g.token.need(g.state, g.log)
	}
}

// keyStore keeps auth's keys in the state.
type keyStore struct{ *state.DB }

// Keys implements auth.Store.
func (s keyStore) Keys() ([]auth.Key, error) {
	stored, err := s.DB.Keys()
	keys := make([]auth.Key, len(stored))
	for i, k := range stored {
		keys[i] = auth.Key(k)
	}
	return keys, err
}

// PutKey implements auth.Store.
func (s keyStore) PutKey(k auth.Key) error { return s.DB.PutKey(state.APIKey(k)) }
