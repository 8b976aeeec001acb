package load

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errNoDone is a stream that was cut.
var errNoDone = errors.New("the stream ended without data: [DONE]")

// events calls each with the data of every event of a stream of server-sent
// events, until each fails or the event [DONE], which is not handed on. A
// stream that ends before that is an error. The data is valid during the call.
func events(r io.Reader, each func(data []byte) error) error {
	reader := bufio.NewReaderSize(r, 16<<10)
	var data []byte
	for {
		line, err := reader.ReadBytes('\n')
		if text, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("data:")); ok {
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(text, []byte(" "))...)
		} else if len(bytes.TrimRight(line, "\r\n")) == 0 && data != nil {
			if string(data) == "[DONE]" {
				return nil
			}
			if err := each(data); err != nil {
				return err
			}
			data = nil
		}
		if errors.Is(err, io.EOF) {
			return errNoDone
		}
		if err != nil {
			return err
		}
	}
}
