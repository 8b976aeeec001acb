package config

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"github.com/loragate/loragate/internal/lora"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	levelType    = reflect.TypeFor[slog.Level]()

	// Entries of lists, and what they have where they say nothing.
	entryDefaults = map[reflect.Type]map[string]any{
		reflect.TypeFor[Adapter]():     {"scale": defaultScale, "weight": defaultWeight},
		reflect.TypeFor[Composition](): {"weight": defaultWeight},
		reflect.TypeFor[lora.Share]():  {"scale": defaultScale},
		reflect.TypeFor[Embedder]():    embedderDefaults,
		reflect.TypeFor[Tenant]():      {"weight": defaultWeight},
	}
)

// decode turns what viper holds into c. Nothing is converted silently: a number
// is no text, and text is no boolean.
func decode(v *viper.Viper, p *problems, c *Config) {
	err := v.UnmarshalExact(c, viper.DecodeHook(mapstructure.DecodeHookFuncValue(convert)),
		func(d *mapstructure.DecoderConfig) { d.WeaklyTypedInput = false })
	report(p, err)
}

// report adds each of the errors that mapstructure joined and wrapped.
func report(p *problems, err error) {
	switch e := err.(type) {
	case nil:
	case *mapstructure.DecodeError:
		if e.Name() == "" { // the Config as a whole
			report(p, e.Unwrap())
			return
		}
		p.add(e.Name(), "%v", e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			report(p, one)
		}
	case interface{ Unwrap() error }:
		report(p, e.Unwrap())
	default:
		p.addSource(p.file, "%v", err)
	}
}

// convert is the hook that mapstructure calls before it decodes a value: it
// returns from as something that fits to, or says what is expected.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if from.Type() == to.Type() {
		return value, nil // defaults, and most of what is right
	}
	switch to.Type() {
	case durationType:
		return toDuration(value)
	case levelType:
		return toLevel(value)
	case autoIntType:
		return toAutoInt(value)
	case autoDurationType:
		return toAutoDuration(value)
	}
	if rest, ok := entryDefaults[to.Type()]; ok {
		return toEntry(value, rest), nil
	}
	switch to.Kind() {
	case reflect.String:
		return nil, errors.New("must be text: put it in quotes")
	case reflect.Bool:
		return nil, errors.New("must be true or false")
	case reflect.Int:
		return nil, errors.New("must be a whole number")
	case reflect.Int64:
		return toSize(value)
	case reflect.Float64:
		return toFloat(value)
	}
	return value, nil
}

func toDuration(value any) (any, error) {
	text, ok := value.(string)
	if !ok {
		if value == 0 {
			return time.Duration(0), nil // the same in every unit
		}
		if _, err := toFloat(value); err == nil {
			return nil, errNoUnit
		}
		return nil, errNoDuration
	}
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return nil, errNoUnit
	}
	return nil, errNoDuration
}

var (
	errNoUnit     = errors.New("needs a unit, as in 500ms, 60s or 2m")
	errNoDuration = errors.New("must be a duration such as 500ms, 60s or 2m")
	errNoSize     = errors.New("must be a size such as 512KiB, 16MiB or 1GB")
	errSizeRange  = errors.New("is too large")
)

func toLevel(value any) (any, error) {
	switch value {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return nil, errors.New("must be debug, info, warn or error")
}

func toFloat(value any) (any, error) {
	switch n := value.(type) {
	case float64:
		return n, nil
	case int:
		return float64(n), nil
	}
	return nil, errors.New("must be a number")
}

// toEntry adds to an entry of a list what it does not say.
func toEntry(value any, rest map[string]any) any {
	entry, ok := value.(map[string]any)
	if !ok {
		return value
	}
	all := maps.Clone(rest)
	maps.Copy(all, entry)
	return all
}

// units are in bytes; the longest suffixes come first.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// toSize reads a number of bytes, or a whole number and a unit.
func toSize(value any) (any, error) {
	switch size := value.(type) {
	case int:
		return int64(size), nil
	case string:
		number, unit := size, int64(1)
		for _, u := range units {
			if n, ok := strings.CutSuffix(size, u.suffix); ok {
				number, unit = strings.TrimRight(n, " "), u.bytes
				break
			}
		}
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange) || err == nil && (n > math.MaxInt64/unit || n < math.MinInt64/unit):
			return nil, errSizeRange
		case err != nil:
			return nil, errNoSize
		}
		return n * unit, nil
	case uint64:
		return nil, errSizeRange
	}
	return nil, errNoSize
}
