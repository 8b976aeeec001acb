package httpkit

import (
	"fmt"
	"runtime/debug"

	"github.com/labstack/echo/v4"
)

// PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte // where it was
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Protect is a middleware that turns a panic of a handler into a *PanicError.
func Protect(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error { return Call(next, c) }
}

// Call calls a handler, whose panic it turns into a *PanicError. A middleware that has a
// function of its own saves one for each request by it: echo makes them anew.
func Call(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return next(c)
}
