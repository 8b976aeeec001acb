package config

import (
	"net/url"
	"strings"
)

// CORS is about web pages that call Listen from a browser.
type CORS struct {
	// Origins are the pages' origins, such as https://app.example, or "*" for all; a
	// * within one stands for any text. Default none: browsers let no page of another
	// origin read answers.
	Origins []string `mapstructure:"origins"`
}

func (k *checker) cors(c *CORS) {
	for i, origin := range c.Origins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(strings.ReplaceAll(origin, "*", "x"))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(origin, "?") ||
			u.Path != "" || u.User != nil || u.Fragment != "" {
			k.add(index("cors.origins", i), "must be an origin such as https://app.example, with no path, or *")
		}
	}
}
