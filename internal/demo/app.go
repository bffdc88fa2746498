package demo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"

	"github.com/pocketping/bridge/internal/bridge"
)

// callback is the app server's side: where the bridge posts what operators do. It checks the signature, as an SDK does.
func (d *demo) callback(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, []byte(d.secret.Reveal()))
	_, _ = mac.Write(body)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); !hmac.Equal([]byte(want), []byte(r.Header.Get("X-PocketPing-Signature"))) {
		d.out.say("the app server", "got a callback with a WRONG signature and refuses it")
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return
	}
	var event struct {
		Type bridge.Type `json:"type"`
		bridge.OperatorMessage
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	if event.Type != bridge.TypeOperatorMessage {
		d.out.say("the app server", "gets %s", event.Type)
		return
	}
	d.out.say("the app server", "gets %s from %s, signature valid: %s", event.Type, event.OperatorName, event.Content)
	select {
	case d.replies <- event.Content:
	default: // nobody waits for it
	}
}
