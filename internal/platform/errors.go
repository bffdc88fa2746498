package platform

import (
	"errors"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// ReasonOf returns why a call failed, or nothing for an error that is no *bridge.DeliveryError.
func ReasonOf(err error) bridge.Reason {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	if !ok {
		return ""
	}
	return d.Reason
}

// OrNil returns a fault as an error, nil for none.
func OrNil(fault *bridge.DeliveryError) error {
	if fault == nil {
		return nil
	}
	return fault
}

// Repeatable is the failure of a call that may be made again at any time: nothing shows twice when it is repeated.
func Repeatable(d *bridge.DeliveryError) *bridge.DeliveryError {
	if d.Reason == bridge.ReasonUnconfirmed {
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination
	}
	return d
}

// IDs returns the ids of a list, without those that are blank.
func IDs(list []string) map[string]bool {
	out := map[string]bool{}
	for _, id := range list {
		if id = strings.TrimSpace(id); id != "" {
			out[id] = true
		}
	}
	return out
}
