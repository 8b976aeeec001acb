package config

import (
	"regexp"
	"strings"
)

const huggingFaceToken = "sources.huggingface.token"

// secrets are the keys whose values are shown nowhere.
var secrets = map[string]bool{"admin.token": true, huggingFaceToken: true}

// masked stands for a secret.
const masked = "***"

// shownText returns a value as it was written for messages about key, "" if it is
// secret.
func shownText(key, value string) string {
	if secrets[key] {
		return ""
	}
	return quote(redact(value))
}

// In a URL, what may be a credential: the user and password, and all from the
// query on, which signs some. A password may have an unescaped / in it.
var (
	urlUser  = regexp.MustCompile(`([A-Za-z0-9+.-]+://)[^?#\s]*@`)
	urlQuery = regexp.MustCompile(`(?is)(://[^?#]*[?#]).+`)
)

// redact masks the credentials in a text that is, or contains, a URL.
func redact(text string) string {
	text = urlUser.ReplaceAllStringFunc(text, func(match string) string {
		scheme, _, _ := strings.Cut(match, "://")
		if scheme == "hf" || scheme == "s3" { // an @ begins a revision, or is part of a key
			return match
		}
		return scheme + "://" + masked + "@"
	})
	return urlQuery.ReplaceAllString(text, "${1}"+masked)
}
