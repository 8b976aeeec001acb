package httpkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Error is an error as a client sees it, with the cause that only the log sees.
type Error struct {
	Status     int
	Type       string // for machines, broad: one of the Type constants, as a rule
	Code       string // for machines, narrow: "model_not_found"; "" is null
	Param      string // the field at fault; "" is null
	Message    string // for people
	RetryAfter time.Duration
	Cause      error

	// Prompt and Context are how many tokens a prompt has that is too long and how many it may have,
	// which llama-server's own clients look for; 0 is not known.
	Prompt, Context int
}

// OpenAI's broad types of errors.
const (
	TypeInvalid        = "invalid_request_error"
	TypeServer         = "server_error"
	TypeRateLimit      = "rate_limit_error"
	TypeAuthentication = "authentication_error"
)

// Invalid is a mistake of the client's in a field of its request; "" is none of them.
func Invalid(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: TypeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.Cause)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// ErrorAnswer is the body of every answer that is an error, in OpenAI's form.
type ErrorAnswer struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail says what is wrong.
type ErrorDetail struct {
	Message string  `json:"message"` // for people
	Type    string  `json:"type"`    // for machines, broad
	Param   *string `json:"param"`   // the field at fault
	Code    *string `json:"code"`    // for machines, narrow
}

// Answer is what a client gets for the error.
func (e *Error) Answer() ErrorAnswer {
	orNull := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return ErrorAnswer{ErrorDetail{Message: e.Message, Type: e.Type, Param: orNull(e.Param), Code: orNull(e.Code)}}
}

// JSON renders the answer.
func (e *Error) JSON() []byte {
	type sized struct {
		ErrorDetail
		Prompt  int `json:"n_prompt_tokens,omitempty"`
		Context int `json:"n_ctx,omitempty"`
	}
	text, err := json.Marshal(map[string]sized{"error": {e.Answer().Error, e.Prompt, e.Context}})
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// shown bounds how many bytes of a client's words an error or a line of the log repeats.
const shown = 200

// Shorten keeps a client's words from filling an error or a line of the log.
func Shorten(s string) string {
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "..."
}
