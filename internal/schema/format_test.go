package schema

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestFormats: a text that another reader takes for one of a format is none that is refused, and
// what is none for certain is. Of each format the good ones stand before the others.
func TestFormats(t *testing.T) {
	t.Parallel()
	for format, texts := range map[string][2]string{
		"date":                  {"2024-02-29 1999-12-31", "2023-02-29 2024-13-01 a 2024-1-1"},
		"time":                  {"10:00:00Z 10:00:00.123+02:00 10:00:00z 23:59:60Z", "10:00:00 25:00:00Z a"},
		"date-time":             {"2024-02-29T10:00:00Z 2024-02-29t10:00:00.5-07:00 1998-12-31T23:59:60Z", "2024-02-29 a 2024-02-30T10:00:00Z"},
		"duration":              {"P1Y2M3DT4H5M6S P3W PT36H P1D", "P 1D PT P1S a"},
		"email":                 {"a@b.c a+b@example.org joe.bloggs@example.com", "a @ a@ example.org"},
		"ipv4":                  {"1.2.3.4 255.255.255.255", "1.2.3 256.1.1.1 ::1 a 01.2.3.4"},
		"ipv6":                  {"::1 fe80::1 ::ffff:1.2.3.4", "1.2.3.4 :::1 fe80::1%eth0 a"},
		"hostname":              {"example.org localhost a-b.c xn--4gbwdl.xn--wgbh1c", "-a a_b ."},
		"uuid":                  {"2eb8aa08-aa98-11ea-b4aa-73b441d16380 2EB8AA08-AA98-11EA-B4AA-73B441D16380", "a 2eb8aa08"},
		"uri":                   {"https://example.org/a?b#c urn:oasis:names mailto:a@b.c", "/a a 1:b"},
		"uri-reference":         {"/a a https://example.org #x", ""},
		"uri-template":          {"http://example.com/{a}", ""},
		"json-pointer":          {"/a/b~0~1 /", "a /~2 #"},
		"relative-json-pointer": {"0 1/a 0#", "a /a 01"},
		"int32":                 {"a", ""},
	} {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("x", map[string]any{"format": format}); err != nil {
			t.Fatal(err)
		}
		reader := c.MustCompile("x")
		all := strings.Fields(texts[0] + " " + texts[1])
		for i, text := range all {
			good := i < len(strings.Fields(texts[0]))
			if (reader.Validate(text) == nil) != good && format != "int32" {
				t.Errorf("%s is told to be %s: %v", text, format, good)
			}
			if ofFormat(format, text) != good {
				t.Errorf("%s is %s: %v", text, format, !good)
			}
		}
		if ofFormat(format, "a b") && format != "int32" && format != "email" {
			t.Errorf("%q is %s", "a b", format)
		}
	}
}
