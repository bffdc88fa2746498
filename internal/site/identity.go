package site

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pocketping/bridge/internal/bridge"
)

// IdentityMode says what is done with the identity that a page gives of its visitor.
type IdentityMode string

const (
	IdentityOff     IdentityMode = "off"     // the identity is shown as the page gives it
	IdentityMark    IdentityMode = "mark"    // it is shown, marked as proved or not
	IdentityRequire IdentityMode = "require" // it is used only when it is proved; otherwise the visitor stays anonymous
)

// The proofs that an identity may carry; neither is stored or handed on.
const (
	proofHash  = "hash"  // hex HMAC-SHA256 of identity.id
	proofToken = "token" // a JWT (HS256) whose sub is identity.id and that expires
)

// identityOfWidget is the identity that a page gives of its visitor. It may have any keys.
type identityOfWidget map[string]any

// UnmarshalJSON implements json.Unmarshaler. PHP writes an empty array for an empty object.
func (i *identityOfWidget) UnmarshalJSON(text []byte) error {
	if strings.TrimSpace(string(text)) == "[]" {
		return nil
	}
	return json.Unmarshal(text, (*map[string]any)(i))
}

// provedIdentity is an identity after its proof was checked. The proof is taken out; there is no identity where it may not be used.
type provedIdentity struct {
	identity json.RawMessage
	id       string // the identity's id, when it is proved
	dropped  bool   // the page gave an identity, and it may not be used
}

// prove checks an identity's proof.
func (d *Door) prove(told *identityOfWidget) provedIdentity {
	if told == nil || len(*told) == 0 {
		return provedIdentity{}
	}
	all := map[string]any{}
	for name, value := range *told {
		if name != proofHash && name != proofToken && name != "verified" {
			all[name] = value
		}
	}
	id, _ := all["id"].(string)
	if !bridge.PrintableID(id) {
		return provedIdentity{dropped: true}
	}
	for _, name := range []string{"email", "name"} {
		if _, text := all[name].(string); !text {
			delete(all, name)
		}
	}
	proved := false
	if d.o.Identity == IdentityMark || d.o.Identity == IdentityRequire {
		proved = d.provedBy((*told)[proofHash], (*told)[proofToken], id)
		all["verified"] = proved
	}
	if d.o.Identity == IdentityRequire && !proved {
		return provedIdentity{dropped: true}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return provedIdentity{dropped: true}
	}
	out := provedIdentity{identity: text}
	if proved {
		out.id = id
	}
	return out
}

// provedBy says whether one of the two proofs is valid. Both are compared in constant time.
func (d *Door) provedBy(hash, token any, id string) bool {
	secret := []byte(d.o.Secret.Reveal())
	if given, _ := hash.(string); given != "" {
		sum := hmac.New(sha256.New, secret)
		_, _ = sum.Write([]byte(id))
		return hmac.Equal([]byte(strings.ToLower(given)), []byte(hex.EncodeToString(sum.Sum(nil))))
	}
	given, _ := token.(string)
	if given == "" {
		return false
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(given, &claims, func(*jwt.Token) (any, error) { return secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(), jwt.WithLeeway(30*time.Second))
	return err == nil && claims.Subject == id && id != ""
}

// apply puts the identity into the session, and returns what else is to be written. An identity that is not proved does not replace a
// proved one.
func (p provedIdentity) apply(v *visitor) []bridge.Row {
	if p.identity == nil || v.Verified != "" && p.id == "" {
		return nil
	}
	v.Identity, v.Verified = p.identity, cmp.Or(p.id, v.Verified)
	if p.id == "" {
		return nil
	}
	return []bridge.Row{{Table: tablePeople, Key: p.id, Value: []byte(v.ID), Session: v.ID}}
}
