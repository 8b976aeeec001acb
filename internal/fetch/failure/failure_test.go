package failure

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// TestOperatorsAreTold whose fault it is, in the words that they know, with the cause.
func TestOperatorsAreTold(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err  *Error
		want lora.Code
	}{
		{TooLarge.New("x"), lora.TooLarge}, {BadSource.New("x"), lora.Invalid}, {DiskFull.New("x"), lora.Full},
		{Disk.New("x"), lora.Failed}, {NotFound.New("x"), lora.Failed}, {Unauthorized.New("x"), lora.Failed},
		{Unreachable.New("x").ForNow(), lora.Failed}, {Unreachable.New("x"), lora.Refused},
		{BadArchive.New("x"), lora.Refused}, {DigestMismatch.New("x"), lora.Refused},
	} {
		err := error(c.err.Because(cause))
		var told *lora.Error
		if !errors.As(err, &told) || told.Code != c.want || told.Message != "x" || !errors.Is(err, cause) {
			t.Errorf("%s: %+v, want %s", c.err.Code, told, c.want)
		}
		if got := errors.Is(err, fs.ErrNotExist); got != (c.err.Code == NotFound) {
			t.Errorf("%s is of something that is not there: %t", c.err.Code, got)
		}
	}
}
