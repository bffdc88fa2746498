package callback

import (
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pocketping/bridge/internal/bridge"
)

// The key is the secret's characters, whsec_ included. The value is openssl's.
func TestSignature(t *testing.T) {
	got := signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", []byte("hello"))
	if want := "sha256=c770c8b4e83a988d5236a41db64cb85cf40319a4d0c94a69aacc5703cf225ee4"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What we sign, the specification's own library takes.
func TestStandardWebhooks(t *testing.T) {
	body := []byte(`{"type":"operator_message","id":"evt_0000000000000042"}`)
	secrets := []bridge.Secret{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", newSecret(), "any other text", "whsec_no base64"}
	h := http.Header{}
	sign(h, "evt_0000000000000042", time.Now(), body, secrets)
	if n := len(strings.Fields(h.Get("webhook-signature"))); n != len(secrets) {
		t.Errorf("%d signatures for %d secrets", n, len(secrets))
	}
	if h.Get("X-PocketPing-Signature") != signature(secrets[0], body) {
		t.Error("X-PocketPing-Signature is not made with the newest secret")
	}
	for i, s := range secrets {
		judge, err := standardwebhooks.NewWebhook(s.Reveal())
		if i >= 2 {
			judge, err = standardwebhooks.NewWebhookRaw([]byte(s.Reveal()))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := judge.Verify(body, h); err != nil {
			t.Errorf("secret %d: %v", i, err)
		}
		if err := judge.Verify(append(body, ' '), h); err == nil {
			t.Errorf("secret %d: another body is taken", i)
		}
	}
	stranger, err := standardwebhooks.NewWebhook(newSecret().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Verify(body, h); err == nil {
		t.Error("another secret is taken")
	}
}

func TestUnsigned(t *testing.T) {
	h := http.Header{}
	sign(h, "evt_1", time.Unix(1700000000, 0), nil, nil)
	if h.Get("webhook-id") != "evt_1" || h.Get("webhook-timestamp") != "1700000000" || len(h) != 2 {
		t.Errorf("%v", h)
	}
}
