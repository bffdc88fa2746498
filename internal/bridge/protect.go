package bridge

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Protect runs do, and turns a panic in it into a fault that passes, which it also logs as an error: a defect in one receiver, or
// an update that nobody thought of, must not end the process with all others. op names what was done.
func Protect(log *slog.Logger, op string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("a panic was caught", "op", op, "cause", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = &DeliveryError{Reason: ReasonTransient, Scope: ScopeDestination, Op: op, Detail: "a defect in the bridge"}
		}
	}()
	return do()
}
