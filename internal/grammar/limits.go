package grammar

import (
	"fmt"
	"math"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

func (c *converter) sized(s rawjson.Object) (string, error) {
	least, most, err := counts(s, "minLength", "maxLength")
	if err != nil {
		return "", err
	}
	if _, err := c.primitive("char"); err != nil {
		return "", err
	}
	return c.add(`"\"" char` + braced(least, most) + ` "\""`)
}

func braced(least, most int) string {
	if most == noBound {
		return fmt.Sprintf("{%d,}", least)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

// counts reads the limits of a length. What is no whole number llama-server refuses, or
// takes for none.
func counts(s rawjson.Object, leastKey, mostKey string) (least, most int, err error) {
	least, most = 0, noBound
	for key, to := range map[string]*int{leastKey: &least, mostKey: &most} {
		raw, given := s.Raw(key)
		if !given {
			continue
		}
		n, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || n < 0 || n > 1<<31-1 || n != float64(int(n)) {
			return 0, 0, fmt.Errorf("has a %s that is no whole number from 0 to 2147483647", key)
		}
		*to = int(n)
	}
	switch err := checkCounts(least, most); {
	case err != nil && least > maxRepeat:
		return 0, 0, fmt.Errorf("has a %s of %d, more than %d", leastKey, least, maxRepeat)
	case err != nil:
		return 0, 0, fmt.Errorf("has a %s of %d and a %s of %d, which cannot be", leastKey, least, mostKey, most)
	}
	return least, most, nil
}

// checkIntegers refuses limits of an integer between which there is none: of those
// llama-server makes a grammar that no answer fits. What is no number it refuses itself.
func checkIntegers(s rawjson.Object) error {
	least, most := math.Inf(-1), math.Inf(1)
	for _, limit := range []struct {
		key   string
		apply func(n float64)
	}{
		{"minimum", func(n float64) { least = max(least, math.Ceil(n)) }},
		{"exclusiveMinimum", func(n float64) { least = max(least, math.Floor(n)+1) }},
		{"maximum", func(n float64) { most = min(most, math.Floor(n)) }},
		{"exclusiveMaximum", func(n float64) { most = min(most, math.Ceil(n)-1) }},
	} {
		raw, _ := s.Raw(limit.key)
		if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
			limit.apply(n)
		}
	}
	if least > most {
		return fmt.Errorf("has an integer of at least %.0f and at most %.0f, which cannot be", least, most)
	}
	return nil
}
