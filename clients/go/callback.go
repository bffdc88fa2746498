package bridgeclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Callback has the bridge call the app. PublicURL and Secret are needed.
type Callback struct {
	PublicURL string // where the bridge reaches the app, such as https://app.example.com
	Path      string // where CallbackHandler is mounted; "": /pocketping/callback
	Secret    string // signs what comes; at least 24 characters
	ID        string // the registration's; "": made from PublicURL and Path
}

const (
	defaultCallbackPath = "/pocketping/callback"
	callbackTTL         = 24 * time.Hour
	callbackRefresh     = 5 * time.Minute // a bridge that has lost its store knows us again by then
	maxSkew             = 5 * time.Minute // as Standard Webhooks has it
	maxCallback         = 4 << 20
)

func (cb *Callback) path() string {
	if cb.Path == "" {
		return defaultCallbackPath
	}
	return "/" + strings.TrimLeft(cb.Path, "/")
}

func (cb *Callback) url() string { return strings.TrimRight(cb.PublicURL, "/") + cb.path() }

func (cb *Callback) id() string {
	if cb.ID != "" {
		return cb.ID
	}
	sum := sha256.Sum256([]byte(cb.url()))
	return "app-" + hex.EncodeToString(sum[:6])
}

// keepRegistered registers the callback, and again long before it expires.
func (c *Client) keepRegistered(ctx context.Context) {
	cb := c.config.Callback
	text, err := json.Marshal(map[string]any{"url": cb.url(), "secret": cb.Secret, "ttl": int(callbackTTL.Seconds())})
	if err != nil {
		c.tell(err)
		return
	}
	wait, told := newBackoff(), 0
	for ctx.Err() == nil {
		status, answered, answer, err := c.request(ctx, http.MethodPut, "/api/callbacks/"+url.PathEscape(cb.id()), text, nil)
		if err == nil && status < 300 {
			c.count(func(s *Stats) { s.Connected = true })
			told = 0
			if wait = (&backoff{next: callbackRefresh}); !wait.pause(ctx, 0) {
				return
			}
			wait = newBackoff()
			continue
		}
		if err == nil && status != told {
			told = status
			c.tell(fmt.Errorf("bridgeclient: the callback's registration is answered with %d %s", status, answer))
		}
		if !wait.pause(ctx, retryAfter(answered)) {
			return
		}
	}
}

// CallbackHandler takes the bridge's callbacks and gives the events to handle. It reads the body itself and must see it as it
// came, so mount it before anything that parses bodies. It answers 204 to what was taken, 401 to a wrong or old signature, 422
// to ErrUnknownSession, so that the operator is told, and 500 to any other error: then the event comes again.
func (c *Client) CallbackHandler(handle Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cb := c.config.Callback
		if cb == nil || r.Method != http.MethodPost {
			answerError(w, http.StatusNotFound, "there is no callback here")
			return
		}
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
		if err != nil {
			answerError(w, http.StatusBadRequest, "the body cannot be read")
			return
		}
		if !genuine(cb.Secret, r.Header, text, time.Now()) {
			answerError(w, http.StatusUnauthorized, "the signature is wrong or too old")
			return
		}
		e, err := parseEvent(text)
		if err != nil {
			answerError(w, http.StatusBadRequest, "the event cannot be read")
			return
		}
		ctx := context.WithoutCancel(r.Context()) // the bridge may give up, the work goes on
		switch err := c.handleOnce(ctx, e, handle); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, ErrUnknownSession):
			answerError(w, http.StatusUnprocessableEntity, "this session is not known here")
		default:
			c.tell(fmt.Errorf("bridgeclient: %s %s: %w", e.Type, e.ID, err))
			answerError(w, http.StatusInternalServerError, "the event could not be taken")
		}
	})
}

func answerError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// genuine checks the signature of the Standard Webhooks specification.
func genuine(secret string, h http.Header, text []byte, now time.Time) bool {
	at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if age := now.Sub(time.Unix(at, 0)); secret == "" || err != nil || age > maxSkew || age < -maxSkew {
		return false
	}
	key := []byte(secret)
	if rest, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err = base64.StdEncoding.DecodeString(rest); err != nil {
			return false
		}
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", h.Get("webhook-id"), h.Get("webhook-timestamp"))
	mac.Write(text)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, one := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(one), []byte(want)) {
			return true
		}
	}
	return false
}
