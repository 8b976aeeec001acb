package config

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"
)

// Auto is the value of a setting that the gateway chooses by itself; it is written
// as auto.
const Auto = math.MinInt

// autoText is how Auto is written.
const autoText = "auto"

// AutoInt is a whole number, or Auto.
type AutoInt int

// Or returns the number, or what was chosen for Auto.
func (n AutoInt) Or(chosen int) int {
	if n == Auto {
		return chosen
	}
	return int(n)
}

func (n AutoInt) String() string {
	if n == Auto {
		return autoText
	}
	return strconv.Itoa(int(n))
}

// AutoDuration is a duration, or Auto.
type AutoDuration time.Duration

func (d AutoDuration) String() string {
	if d == Auto {
		return autoText
	}
	return time.Duration(d).String()
}

var (
	autoIntType      = reflect.TypeFor[AutoInt]()
	autoDurationType = reflect.TypeFor[AutoDuration]()
)

func toAutoInt(value any) (any, error) {
	switch n := value.(type) {
	case string:
		if n == autoText {
			return AutoInt(Auto), nil
		}
	case int:
		return AutoInt(n), nil
	}
	return nil, errors.New("must be auto or a whole number")
}

func toAutoDuration(value any) (any, error) {
	if value == autoText {
		return AutoDuration(Auto), nil
	}
	d, err := toDuration(value)
	switch {
	case errors.Is(err, errNoUnit):
		return nil, err
	case err != nil:
		return nil, errors.New("must be auto or a duration such as 500ms, 60s or 2m")
	}
	return AutoDuration(d.(time.Duration)), nil
}
