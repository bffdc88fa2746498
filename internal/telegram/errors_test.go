package telegram

import (
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// A refusal for pace is one, and names its time, in whatever it comes wrapped.
func TestWrappedLimits(t *testing.T) {
	for _, test := range []struct {
		op      string
		refused refusal
		reason  bridge.Reason
		after   time.Duration
	}{
		{opAlbum, refusal{Code: 400,
			Description: `Bad Request: failed to send message #1 with the error message "Too Many Requests: retry after 8"`},
			bridge.ReasonRateLimited, 8 * time.Second},
		{opSend, refusal{Code: 400, Description: "Too Many Requests: retry after 15"}, bridge.ReasonRateLimited, 15 * time.Second},
		{opSend, refusal{Code: 400, Description: "Bad Request: TOO MANY REQUESTS: RETRY AFTER 99999999999999999999"},
			bridge.ReasonRateLimited, 24 * time.Hour},
		{opSend, refusal{Code: 429, Description: "Too Many Requests: retry after 7", RetryAfter: 7 * time.Second},
			bridge.ReasonRateLimited, 7 * time.Second},
		{opSend, refusal{Code: 429, Description: "Too Many Requests"}, bridge.ReasonRateLimited, defaultRetryAfter},
		{opSend, refusal{Code: 400, Description: "Bad Request: message text is empty"}, bridge.ReasonRejected, 0},
	} {
		d := classify(test.op, &test.refused, nil)
		if d.Reason != test.reason || d.RetryAfter != test.after {
			t.Errorf("%q: %s after %v, want %s after %v", test.refused.Description, d.Reason, d.RetryAfter, test.reason, test.after)
		}
		if d.Reason == bridge.ReasonRateLimited && d.Scope != bridge.ScopeDestination {
			t.Errorf("%q: it is of scope %v", test.refused.Description, d.Scope)
		}
	}
}
