package schema

import (
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Parts of the expressions below.
const (
	day = `(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|` +
		`02-(?:0[1-9]|1[0-9]|2[0-8]))`
	leap    = `(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29`
	date    = `(?:[0-9]{4}-` + day + `|` + leap + `)`
	clock   = `(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])`
	label   = `[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?`
	host    = label + `(?:\.` + label + `){0,4}`
	domain  = label + `(?:\.` + label + `){0,3}\.[a-z]{2,12}`
	mailbox = `[A-Za-z0-9_+-]{1,32}(?:\.[A-Za-z0-9_+-]{1,16}){0,2}@`
	octet   = `(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
	path    = `(?:/[A-Za-z0-9._~-]*)*`
	query   = `(?:\?[A-Za-z0-9._~=&-]*)?(?:#[A-Za-z0-9._~-]*)?`
	uri     = `https?://` + domain + path + query
	pointer = `(?:/(?:[^~/]|~[01])*)*`
	spell   = `P(?:[0-9]{1,4}W|(?:(?:[0-9]{1,4}Y)?[0-9]{1,4}M(?:[0-9]{1,4}D)?|[0-9]{1,4}Y|[0-9]{1,4}D)` +
		`(?:T` + hours + `)?|T` + hours + `)`
	hours = `(?:[0-9]{1,4}H(?:[0-9]{1,4}M(?:[0-9]{1,4}S)?)?|[0-9]{1,4}M(?:[0-9]{1,4}S)?|[0-9]{1,4}S)`
)

// formats are expressions for the texts of a format, or for those of them that are common.
// llama-server knows dates that are none, as 2023-02-30, and no others of these.
var formats = map[string]string{
	"date": "^" + date + "$", "time": "^" + clock + "$", "date-time": "^" + date + "T" + clock + "$",
	"duration": "^" + spell + "$",
	"email":    "^" + mailbox + domain + "$", "idn-email": "^" + mailbox + domain + "$",
	"hostname": "^" + host + "$", "idn-hostname": "^" + host + "$",
	"ipv4": `^` + octet + `(?:\.` + octet + `){3}$`, "ipv6": `^[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){7}$`,
	"uri": "^" + uri + "$", "iri": "^" + uri + "$",
	"uri-reference": "^(?:" + uri + "|" + path + query + ")$", "iri-reference": "^(?:" + uri + "|" + path + query + ")$",
	"uri-template": "^" + uri + "$",
	"json-pointer": "^" + pointer + "$", "relative-json-pointer": "^(?:0|[1-9][0-9]{0,4})(?:#|" + pointer + ")$",
	"regex": "^[A-Za-z0-9 _]*$",
}

// uuid is of every version: llama-server has a rule for each that is the same.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// written are expressions for all texts of a format, where the ones above are for the common ones.
var written = map[string]*regexp.Regexp{
	"uuid": uuid, "uuid1": uuid, "uuid2": uuid, "uuid3": uuid, "uuid4": uuid, "uuid5": uuid,
	"duration": regexp.MustCompile(`^P(?:[0-9]+W|(?:[0-9]+[YMD])+(?:T(?:[0-9]+[HMS])+)?|T(?:[0-9]+[HMS])+)$`),
	"email":    regexp.MustCompile(`^(?s:.)+@[^ ]+$`), "idn-email": regexp.MustCompile(`^(?s:.)+@[^ ]+$`),
	"hostname":      regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?$`),
	"idn-hostname":  regexp.MustCompile(`^[^ ]+$`),
	"json-pointer":  regexp.MustCompile(`^` + pointer + `$`),
	"uri":           regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[^ ]*$`),
	"iri":           regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[^ ]*$`),
	"uri-reference": regexp.MustCompile(`^[^ ]*$`), "iri-reference": regexp.MustCompile(`^[^ ]*$`),
	"uri-template":          regexp.MustCompile(`^[^ ]*$`),
	"relative-json-pointer": regexp.MustCompile(`^(?:0|[1-9][0-9]*)(?:#|` + pointer + `)$`),
}

// layouts are how Go reads times of a format.
var layouts = map[string]string{
	"date": time.DateOnly, "time": "15:04:05Z07:00", "date-time": time.RFC3339,
}

// ofFormat reports whether a text may be of a format: it is false for what is none for certain. What
// is no format that is known says something to readers only.
func ofFormat(format, text string) bool {
	if layout, is := layouts[format]; is {
		_, err := time.Parse(layout, strings.Replace(strings.ToUpper(text), ":60", ":59", 1)) // leap seconds
		return err == nil
	}
	if expression := written[format]; expression != nil {
		return expression.MatchString(text)
	}
	if format == "ipv4" || format == "ipv6" {
		address, err := netip.ParseAddr(text)
		return err == nil && address.Is4() == (format == "ipv4") && address.Zone() == ""
	}
	return true
}
