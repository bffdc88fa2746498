package discord

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// The headers of an interaction ("Validating Security Request Headers" of the documentation).
const (
	headerSignature = "X-Signature-Ed25519"
	headerTimestamp = "X-Signature-Timestamp"

	maxInteraction = 256 << 10 // bytes of a request's body
	// maxAge is how far a request's time may lie from ours, before or behind.
	maxAge = 5 * time.Minute
)

// Webhook implements bridge.Webhook. It returns nil without a public key.
func (d *Discord) Webhook(inbox bridge.Inbox) http.Handler {
	if d.key == nil {
		return nil
	}
	return &ingressHandler{discord: d, inbox: inbox}
}

// ingressHandler takes Discord's requests: interactions.
type ingressHandler struct {
	discord *Discord
	inbox   bridge.Inbox
}

// ServeHTTP takes one interaction. Discord waits for three seconds and does not repeat it.
func (h *ingressHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := platform.ReadRequest(w, r, maxInteraction)
	if !ok {
		return
	}
	if !h.genuine(r.Header, body) {
		platform.Refuse(w, http.StatusUnauthorized)
		return
	}
	var in interaction
	if err := json.Unmarshal(body, &in); err != nil && !partly(err) {
		platform.Refuse(w, http.StatusBadRequest)
		return
	}
	if in.Type == discordgo.InteractionPing {
		answerWith(w, &discordgo.InteractionResponse{Type: discordgo.InteractionResponsePong})
		return
	}
	defer h.discord.expect(in.ID)()
	ctx, cancel := context.WithTimeout(r.Context(), firstAnswer)
	defer cancel()
	out, err := h.discord.interact(ctx, &in, h.inbox)
	switch {
	case err != nil:
		h.discord.log.Warn("a slash command was not accepted", "op", opCallback, "err", err)
		platform.Refuse(w, http.StatusServiceUnavailable)
	case out == nil:
		platform.Refuse(w, http.StatusBadRequest)
	default:
		answerWith(w, out)
	}
}

// genuine says whether a request proves that it is Discord's, and of now.
func (h *ingressHandler) genuine(header http.Header, body []byte) bool {
	stamps, signatures := header[headerTimestamp], header[http.CanonicalHeaderKey(headerSignature)]
	if len(stamps) != 1 || len(signatures) != 1 {
		return false
	}
	at, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil {
		return false
	}
	if age := h.discord.clock.now().Sub(time.Unix(at, 0)); age > maxAge || age < -maxAge {
		return false
	}
	signature, err := hex.DecodeString(signatures[0])
	if err != nil || len(signature) != ed25519.SignatureSize {
		return false
	}
	return ed25519.Verify(h.discord.key, append([]byte(stamps[0]), body...), signature)
}

func answerWith(w http.ResponseWriter, r *discordgo.InteractionResponse) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(bridge.MustJSON(r))
}
