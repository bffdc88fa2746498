package discord

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// answering is a transport that gives one answer to all.
type answering struct {
	status int
	header http.Header
	body   string
	calls  int
}

func (t *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	t.calls++
	return &http.Response{StatusCode: t.status, Header: t.header.Clone(), Body: io.NopCloser(strings.NewReader(t.body)), Request: req}, nil
}

// discordgo keeps limits of its own. Whatever an answer says of them, it neither sleeps nor panics nor takes what was done for a failure.
func TestLibraryLimits(t *testing.T) {
	for name, header := range map[string]http.Header{
		"global":     {"X-Ratelimit-Global": {"true"}, "X-Ratelimit-Reset-After": {"3600"}, "X-Ratelimit-Remaining": {"0"}},
		"bucket":     {"X-Ratelimit-Reset-After": {"3600"}, "X-Ratelimit-Remaining": {"0"}},
		"unreadable": {"X-Ratelimit-Reset-After": {"soon"}, "X-Ratelimit-Remaining": {"many"}},
		"no date":    {"X-Ratelimit-Reset": {"4102444800"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, thread := behind(t, &answering{status: http.StatusOK, header: header, body: `{"id":"1"}`})
				began := time.Now()
				for range 3 {
					if _, err := d.Send(t.Context(), thread, bridge.Part{Text: "x"}); err != nil {
						t.Fatal(err)
					}
				}
				if slept := time.Since(began); slept != 0 {
					t.Errorf("three calls took %v", slept)
				}
			})
		})
	}
}

// A refusal for pace is an error at once, in all the forms that it has, and is told to nobody else.
func TestLibraryRefusals(t *testing.T) {
	global := http.Header{"X-Ratelimit-Global": {"true"}, "X-Ratelimit-Scope": {"global"}, "Retry-After": {"7"}}
	for name, answer := range map[string]*answering{
		"global":     {status: http.StatusTooManyRequests, header: global, body: `{"message":"slow","retry_after":7,"global":true}`},
		"cloudflare": {status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"7"}}, body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, thread := behind(t, answer)
				began := time.Now()
				for range 2 { // the second is not sent
					_, err := d.Send(t.Context(), thread, bridge.Part{Text: "x"})
					f := bridge.AsDelivery(err, "", "")
					if platform.ReasonOf(err) != bridge.ReasonRateLimited || f.RetryAfter != 7*time.Second || f.Scope != bridge.ScopeDestination {
						t.Errorf("%v", err)
					}
				}
				if slept := time.Since(began); slept != 0 || answer.calls != 1 {
					t.Errorf("%d calls in %v", answer.calls, slept)
				}
			})
		})
	}
}

// behind returns an adapter whose calls go to a transport, and a thread of it.
func behind(t *testing.T, answers http.RoundTripper) (*Discord, bridge.ThreadID) {
	t.Helper()
	d, err := New(Config{Token: "a-token", ChannelID: "100"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d.rest.client.Transport = recorder{answers}
	return d, "100/200"
}
