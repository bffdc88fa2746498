package store

import "log/slog"

// Outage says once that writes fail and once that they succeed again, however many there are in between. It is for one
// goroutine.
type Outage struct {
	Logger *slog.Logger
	failed bool
}

// Note takes a write's outcome.
func (o *Outage) Note(err error) {
	switch {
	case err != nil && !o.failed:
		o.Logger.Error("the store does not take writes", "err", err)
	case err == nil && o.failed:
		o.Logger.Info("the store takes writes again")
	}
	o.failed = err != nil
}
