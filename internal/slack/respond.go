package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

const (
	responseMark  = "response/"
	ephemeralMark = "ephemeral/"
	// responseAge is how long a slash command can be answered where it was given: 30 minutes, less what a call may take.
	responseAge = 29 * time.Minute
)

// responseID stands for the message that a slash command is not: it carries where and until when it can be answered.
func responseID(responseURL string, now time.Time) bridge.MessageID {
	return bridge.MessageID(responseMark + strconv.FormatInt(now.Unix(), 10) + "/" + responseURL)
}

// responseURL returns where a slash command is to be answered; nil for what is none, is too old, or is not Slack's.
func (s *Slack) responseURL(id bridge.MessageID, now time.Time) *url.URL {
	rest, ok := strings.CutPrefix(string(id), responseMark)
	if !ok {
		return nil
	}
	began, address, _ := strings.Cut(rest, "/")
	at, err := strconv.ParseInt(began, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)) > responseAge {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || !s.trusted(u) {
		return nil
	}
	return u
}

// respond answers a slash command, or the press of a button in a thread, where parent is its first message. done is false when that is
// not possible any more, so that the answer goes to the channel.
func (s *Slack) respond(ctx context.Context, to *url.URL, parent string, p bridge.Part) (ids []bridge.MessageID, done bool, err error) {
	blocks, plain := blocksOf(p, buttonMark(parent, p.Buttons))
	message := slackapi.WebhookMessage{ResponseType: slackapi.ResponseTypeEphemeral, Text: fallback(plain), ThreadTimestamp: parent}
	if blocks != nil {
		message.Blocks = &slackapi.Blocks{BlockSet: blocks}
	}
	status, err := postJSON(ctx, s.calls, opAnswer, to.String(), message, s.secrets...)
	switch {
	case err != nil:
		return nil, false, err
	case status >= 200 && status < 300:
		return []bridge.MessageID{bridge.MessageID(ephemeralMark + p.Key)}, true, nil
	}
	return nil, false, nil
}

// postJSON posts JSON to a URL that is a secret itself. It returns the status of an answer that says something of the request;
// of others it is an error.
func postJSON(ctx context.Context, client *http.Client, op, to string, body any, secrets ...bridge.Secret) (int, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: op, Detail: "it cannot be written as JSON"}
	}
	ctx, x := outbound.Trace(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(raw))
	if err != nil {
		return 0, outbound.Failure(op, err, x, secrets...)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		return 0, outbound.Failure(op, err, x, secrets...)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return 0, outbound.Failure(op, err, x, secrets...)
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return 0, classify(op, &refusal{Status: resp.StatusCode, Opaque: true}, x, secrets...)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return resp.StatusCode, nil
	case op == opHook:
		return 0, hookRefusal(resp.StatusCode, strings.TrimSpace(string(said)))
	}
	return resp.StatusCode, nil
}
