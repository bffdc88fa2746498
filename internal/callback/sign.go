package callback

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The headers of a delivery, in the canonical form of http.Header, which costs no spelling anew. The webhook-… ones are those of
// the Standard Webhooks specification, version 1.0.
const (
	headerEvent     = "X-Pocketping-Event"
	headerSignature = "X-Pocketping-Signature"
	headerWebhookID = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerStandard  = "Webhook-Signature"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
)

// sign sets the headers that let the receiver tell our event from others', and a repeat from a new one. secrets has the
// newest first; with none the event is only named.
func sign(h http.Header, id string, now time.Time, body []byte, secrets []bridge.Secret) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(headerWebhookID, id)
	h.Set(headerTimestamp, stamp)
	if len(secrets) == 0 {
		return
	}
	h.Set(headerSignature, signature(secrets[0], body))
	list := make([]string, 0, len(secrets))
	for _, s := range secrets {
		list = append(list, standardSignature(s, id, stamp, body))
	}
	h.Set(headerStandard, strings.Join(list, " "))
}

// signature is the value of X-PocketPing-Signature. Its key is the secret's characters as they were given, whsec_ included.
func signature(secret bridge.Secret, body []byte) string {
	return "sha256=" + hex.EncodeToString(mac([]byte(secret.Reveal()), body))
}

// standardSignature is one item of webhook-signature.
func standardSignature(secret bridge.Secret, id, stamp string, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(mac(standardKey(secret), []byte(id+"."+stamp+"."), body))
}

// standardKey returns the bytes whose base64 stands behind whsec_, or the bytes of any other secret.
func standardKey(secret bridge.Secret) []byte {
	if text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix); ok {
		if key, err := base64.StdEncoding.DecodeString(text); err == nil {
			return key
		}
	}
	return []byte(secret.Reveal())
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		_, _ = h.Write(p) // a hash's Write returns no error
	}
	return h.Sum(nil)
}

func newSecret() bridge.Secret {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // ends the program rather than return an error
	return bridge.Secret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}
