package site_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
)

const identitySecret = "a secret of the site's server"

func hashOf(id, secret string) string {
	sum := hmac.New(sha256.New, []byte(secret))
	_, _ = sum.Write([]byte(id))
	return hex.EncodeToString(sum.Sum(nil))
}

func tokenOf(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What counts of who a page says its visitor is, in each mode, with each proof.
func TestIdentity(t *testing.T) {
	t.Parallel()
	for _, mode := range []site.IdentityMode{site.IdentityOff, site.IdentityMark, site.IdentityRequire} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inTime(t, func(t *testing.T, r *rig) {
				soon, past := time.Now().Add(time.Minute).Unix(), time.Now().Add(-time.Hour).Unix()
				for name, c := range map[string]struct {
					proof string // of u1, in JSON
					right bool
				}{
					"none":                  {``, false},
					"a hash":                {`,"hash":"` + hashOf("u1", identitySecret) + `"`, true},
					"a hash in capitals":    {`,"hash":"` + strings.ToUpper(hashOf("u1", identitySecret)) + `"`, true},
					"another's hash":        {`,"hash":"` + hashOf("u2", identitySecret) + `"`, false},
					"a hash of no secret":   {`,"hash":"` + hashOf("u1", "") + `"`, false},
					"an empty hash":         {`,"hash":""`, false},
					"a hash that is none":   {`,"hash":7`, false},
					"a token":               {`,"token":"` + tokenOf(t, jwt.SigningMethodHS256, []byte(identitySecret), jwt.MapClaims{"sub": "u1", "exp": soon}) + `"`, true},
					"an expired token":      {`,"token":"` + tokenOf(t, jwt.SigningMethodHS256, []byte(identitySecret), jwt.MapClaims{"sub": "u1", "exp": past}) + `"`, false},
					"a token for ever":      {`,"token":"` + tokenOf(t, jwt.SigningMethodHS256, []byte(identitySecret), jwt.MapClaims{"sub": "u1"}) + `"`, false},
					"another's token":       {`,"token":"` + tokenOf(t, jwt.SigningMethodHS256, []byte(identitySecret), jwt.MapClaims{"sub": "u2", "exp": soon}) + `"`, false},
					"another key":           {`,"token":"` + tokenOf(t, jwt.SigningMethodHS256, []byte("guessed"), jwt.MapClaims{"sub": "u1", "exp": soon}) + `"`, false},
					"another algorithm":     {`,"token":"` + tokenOf(t, jwt.SigningMethodHS512, []byte(identitySecret), jwt.MapClaims{"sub": "u1", "exp": soon}) + `"`, false},
					"a token without a key": {`,"token":"` + tokenOf(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "u1", "exp": soon}) + `"`, false},
					"said to be verified":   {`,"verified":true`, false},
				} {
					got := r.asked("POST", "/connect", `{"visitorId":"v1","sessionId":null,"identity":{"id":"u1","name":"Ada","plan":"pro"`+c.proof+`}}`)
					text, _ := json.Marshal(got["identity"])
					want := `{"id":"u1","name":"Ada","plan":"pro"}`
					switch mode {
					case site.IdentityMark:
						want = fmt.Sprintf(`{"id":"u1","name":"Ada","plan":"pro","verified":%t}`, c.right)
					case site.IdentityRequire:
						if want = fmt.Sprintf(`{"id":"u1","name":"Ada","plan":"pro","verified":%t}`, c.right); !c.right {
							want = "null"
						}
					}
					if string(text) != want {
						t.Errorf("%s: the identity is %s, want %s", name, text, want)
					}
				}
				for _, e := range r.log(bridge.TypeNewSession) {
					if strings.Contains(string(e.Event.Body), `"hash"`) || strings.Contains(string(e.Event.Body), `"token"`) {
						t.Fatalf("a proof is handed on: %s", e.Event.Body)
					}
				}
			}, func(o *site.Options) { o.Identity, o.Secret = mode, identitySecret })
		})
	}
}

// A proved identity goes on with its last session on another device, and is not shown another one's; what is not proved does not take its
// place.
func TestProvedIdentityResumes(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		who := func(id string) string {
			return fmt.Sprintf(`{"id":%q,"name":%q,"hash":%q}`, id, id, hashOf(id, identitySecret))
		}
		connect := func(session, identity string) string {
			got, _ := r.asked("POST", "/connect", fmt.Sprintf(`{"visitorId":"v1","sessionId":%s,"identity":%s}`, session, identity))["sessionId"].(string)
			return got
		}
		first := connect("null", who("ada"))
		r.says(first, "private")
		settle()
		if got := connect("null", who("ada")); got != first {
			t.Error("another device does not go on")
		}
		if got := connect("null", `{"id":"ada","hash":"00"}`); got == first {
			t.Error("a wrong proof goes on")
		}
		if got := connect(`"`+first+`"`, who("bob")); got == first {
			t.Error("somebody else is shown what was said")
		}
		if got := connect(`"`+first+`"`, `{"id":"bob"}`); got != first {
			t.Error("who has the session's id does not go on")
		}
		r.asked("POST", "/identify", `{"sessionId":"`+first+`","identity":{"id":"eve","name":"Eve"}}`)
		settle()
		if n := len(r.log(bridge.TypeIdentityUpdate)); n != 0 {
			t.Errorf("%d updates by what is not proved", n)
		}
		card := strings.Join(r.platform.Texts(r.thread(first)), "\n")
		if !strings.Contains(card, "ada") || strings.Contains(card, "Eve") {
			t.Errorf("the card is %s", card)
		}
		r.asked("POST", "/identify", `{"sessionId":"`+first+`","identity":`+who("grace")+`}`)
		settle()
		if updates := r.log(bridge.TypeIdentityUpdate); len(updates) != 1 || !strings.Contains(string(updates[0].Event.Body), `"verified":true`) {
			t.Errorf("a new proved identity: %+v", updates)
		}
	}, func(o *site.Options) { o.Identity, o.Secret = site.IdentityMark, identitySecret })
}

// While nobody is online the page asks for an address, which is on the card; who is known is not asked.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		got := r.asked("POST", "/connect", `{"visitorId":"v1","sessionId":null}`)
		form, _ := json.Marshal(got["preChatForm"])
		if want := `{"completed":false,"enabled":true,"fields":"email-only","required":false,"timing":"before-first-message"}`; string(form) != want ||
			got["operatorReachable"] != false || got["operatorOnline"] != false {
			t.Errorf("nobody is there: %v, %s", got, form)
		}
		id, _ := got["sessionId"].(string)
		r.asked("POST", "/prechat", `{"sessionId":"`+id+`","email":"ada@example.com","phone":"+33123456789","phoneCountry":"FR"}`)
		r.says(id, "hello")
		settle()
		last := r.log(bridge.TypeVisitorMessage)[0].Event.Body
		for _, want := range []string{`"email":"ada@example.com"`, `"userPhone":"+33123456789"`, `"userPhoneCountry":"FR"`} {
			if !strings.Contains(string(last), want) {
				t.Errorf("%s is not in %s", want, last)
			}
		}
		again := r.asked("POST", "/connect", `{"visitorId":"v1","sessionId":"`+id+`"}`)
		if form := again["preChatForm"].(map[string]any); form["completed"] != true {
			t.Errorf("asked again: %v", form)
		}
		page := r.hears(id)
		r.answers(id, "50", "I am here")
		settle()
		if !slices.Equal(page.frames("presence"), []string{`{"online":true}`}) {
			t.Errorf("presence %q", page.frames("presence"))
		}
		got = r.asked("POST", "/connect", `{"visitorId":"v2","sessionId":null}`)
		if got["operatorReachable"] != true || got["operatorOnline"] != true || got["preChatForm"] != nil {
			t.Errorf("somebody is there: %v", got)
		}
	}, func(o *site.Options) { o.PreChat = site.PreChat{Fields: "email"} })
}
