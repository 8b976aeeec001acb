package config

import (
	"net/url"
	"strings"
)

// CORS is about web pages that call Listen from a browser.
type CORS struct {
	// Origins are the pages' origins, such as https://app.example, or "*" for all; a
	// * within one stands for any text, as in http://localhost:*. Default none: browsers let no page of another
	// origin read answers.
	Origins []string `mapstructure:"origins"`
}

func (k *checker) cors(c *CORS) {
	for i, origin := range c.Origins {
		if origin == "*" {
			continue
		}
		one := origin // of those that are meant
		if host, any := strings.CutSuffix(origin, ":*"); any {
			one = host + ":1"
		}
		u, err := url.Parse(strings.ReplaceAll(one, "*", "x"))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(origin, "?") ||
			u.Path != "" || u.User != nil || u.Fragment != "" {
			k.add(index("cors.origins", i), "must be an origin such as https://app.example, with no path, or *")
		}
	}
}
