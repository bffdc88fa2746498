package discord

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// A call goes by the operation's name in Discord's definition, its operationId: create_message, update_channel. Place is the
// channel, Thread the thread in it, and Params hold the path's, the query's and the body's fields, those that are no strings as
// JSON. The loading of a file is a call named attachment.
type (
	// Call is a call of an operation, as it came.
	Call = stage.Call
	// Action is what is to happen to a call instead of an ordinary answer.
	Action = stage.Action
	// Moment is a moment of a call.
	Moment = stage.Moment
)

// The moments of a call.
const (
	Received  = stage.Received
	Processed = stage.Processed
	Answered  = stage.Answered
	Dropped   = stage.Dropped
)

// Fail answers with an error in Discord's form, such as 404, 10003, "Unknown Channel".
func Fail(status, code int, message string) Action {
	return Action{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: errorBody(code, message)}
}

func errorBody(code int, message string) string {
	text, err := json.Marshal(message)
	if err != nil {
		text = []byte(`""`)
	}
	return fmt.Sprintf(`{"message": %s, "code": %d}`, text, code)
}

// RateLimited answers with 429, as the bot's own limit of a route does.
func RateLimited(after time.Duration) Action { return tooMany(after, "user") }

// SharedLimited answers with 429, as a limit of a resource that all bots share does.
func SharedLimited(after time.Duration) Action { return tooMany(after, "shared") }

// GlobalLimited answers with 429, as the bot's limit over all routes does.
func GlobalLimited(after time.Duration) Action { return tooMany(after, "global") }

func tooMany(after time.Duration, scope string) Action {
	header := make(http.Header)
	body := limitBody(header, after, scope)
	return Action{Status: http.StatusTooManyRequests, Header: header, Body: body}
}

// limitBody returns the body of a 429 and sets its headers, the bucket aside
// (https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit).
func limitBody(header http.Header, after time.Duration, scope string) string {
	seconds := strconv.FormatFloat(math.Ceil(after.Seconds()*1000)/1000, 'f', 3, 64)
	header.Set("Content-Type", "application/json")
	header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	header.Set("X-RateLimit-Scope", scope)
	message := "You are being rate limited."
	switch scope {
	case "global":
		header.Set("X-RateLimit-Global", "true")
	case "shared":
		message = "The resource is being rate limited."
	}
	if scope != "global" {
		header.Set("X-RateLimit-Reset-After", seconds)
		header.Set("X-RateLimit-Limit", "5")
		header.Set("X-RateLimit-Remaining", "0")
		header.Set("X-RateLimit-Reset", epochSeconds(time.Now().Add(after)))
	}
	return fmt.Sprintf(`{"message": %q, "retry_after": %s, "global": %v}`, message, seconds, scope == "global")
}

func epochSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// Banned answers with 429 as Cloudflare does in front of Discord: a page instead of JSON, and none of Discord's headers ("Invalid
// Request Limit aka Cloudflare bans").
func Banned(after time.Duration) Action {
	a := stage.Page(http.StatusTooManyRequests)
	a.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	a.Header.Set("Server", "cloudflare")
	a.Body = "<!doctype html>\n<html lang=\"en-US\"><head><title>Access denied | discord.com used Cloudflare to restrict access" +
		"</title></head><body><h1>Error 1015</h1><h2>You are being rate limited</h2></body></html>\n"
	return a
}

// Page answers with an HTML page, as a proxy on the way does.
func Page(code int) Action { return stage.Page(code) }

// Redirect answers with a redirect to another place.
func Redirect(code int, location string) Action { return stage.Redirect(code, location) }
