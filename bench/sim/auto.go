package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// AutoSeconds is a length of time, or Auto; in JSON it is a number or "auto".
type AutoSeconds float64

// Auto leaves a time to what the scheduler has measured.
const Auto AutoSeconds = -1

func (a AutoSeconds) time() time.Duration {
	if a == Auto {
		return sched.Auto
	}
	return Seconds(a).time()
}

// MarshalJSON writes a number or "auto".
func (a AutoSeconds) MarshalJSON() ([]byte, error) {
	if a == Auto {
		return []byte(`"auto"`), nil
	}
	return json.Marshal(float64(a))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (a *AutoSeconds) UnmarshalJSON(text []byte) error {
	if string(text) == `"auto"` {
		*a = Auto
		return nil
	}
	var number float64
	if err := json.Unmarshal(text, &number); err != nil {
		return fmt.Errorf("%s is neither a number of seconds nor \"auto\"", text)
	}
	*a = AutoSeconds(number)
	return nil
}
