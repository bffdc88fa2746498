package discord

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bwmarrin/discordgo"
)

func (o *office) register(names ...string) {
	o.t.Helper()
	var list []object
	for _, name := range names {
		list = append(list, object{"name": name, "description": name})
	}
	o.want(o.call("PUT", "/applications/"+o.Application()+"/guilds/"+o.Guild()+"/commands", list), 200, 0)
}

func (o *office) respond(i Interaction, body any) answer {
	o.t.Helper()
	return o.callAs(o.t.Context(), "", "POST", "/interactions/"+i.ID+"/"+i.Token+"/callback", body)
}

func TestCommandOverTheGateway(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	o.register("close")
	d := o.client()
	d.SyncEvents = true
	d.Identify.Intents = discordgo.Intent(usualIntents)
	done := make(chan *discordgo.InteractionCreate, 1)
	d.AddHandler(func(_ *discordgo.Session, i *discordgo.InteractionCreate) { done <- i })
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	thread := o.OpenThread(o.text, o.ana, "x", "hi")
	used := o.UseCommand(thread.ID, o.ana, "close", map[string]any{"note": "done", "n": 3, "quiet": true})
	i := <-done
	options := i.ApplicationCommandData().Options
	if i.ID != used.ID || i.Token != used.Token || i.ChannelID != thread.ID || i.Member.User.ID != o.ana ||
		i.ApplicationCommandData().Name != "close" || len(options) != 3 || options[1].StringValue() != "done" || options[0].IntValue() != 3 ||
		!options[2].BoolValue() || i.AppID != o.Application() {
		t.Errorf("%+v", i.Interaction)
	}
	if err := d.InteractionRespond(i.Interaction, &discordgo.InteractionResponse{
		Type: discordgo.InteractionResponseDeferredChannelMessageWithSource,
		Data: &discordgo.InteractionResponseData{Flags: discordgo.MessageFlagsEphemeral},
	}); err != nil {
		t.Fatal(err)
	}
	if got := o.Interactions()[0]; !got.Answered || !got.Deferred || got.Failed {
		t.Errorf("%+v", got)
	}
	text := "closed"
	if _, err := d.InteractionResponseEdit(i.Interaction, &discordgo.WebhookEdit{Content: &text}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.FollowupMessageCreate(i.Interaction, true, &discordgo.WebhookParams{Content: "for all"}); err != nil {
		t.Fatal(err)
	}
	got := o.Interactions()[0]
	if got.Deferred || len(got.Answers) != 2 || got.Answers[0].Text != "closed" || !got.Answers[0].Ephemeral || got.Answers[0].For != o.ana ||
		got.Answers[1].Ephemeral {
		t.Errorf("%+v", got)
	}
	if list := o.Ephemeral(thread.ID); len(list) != 1 || list[0].Text != "closed" {
		t.Errorf("%+v", list)
	}
	in := o.Messages(thread.ID)
	if m := in[len(in)-1]; m.Text != "for all" || m.Kind != CommandAnswer || !m.Own {
		t.Errorf("%+v", m)
	}
	if err := d.FollowupMessageDelete(i.Interaction, o.Ephemeral(thread.ID)[0].ID); err != nil || len(o.Ephemeral(thread.ID)) != 0 {
		t.Errorf("%v", err)
	}
	if _, err := d.InteractionResponseEdit(i.Interaction, &discordgo.WebhookEdit{Content: &text}); err == nil || !strings.Contains(err.Error(), "10008") {
		t.Errorf("%v", err)
	}
}

func TestCommandInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.FailOnFaults(t)
		o.register("a")
		say := object{"type": 4, "data": object{"content": "x"}}
		late := o.UseCommand(o.text, o.ana, "a", nil)
		followUp := "/webhooks/" + o.Application() + "/" + late.Token
		o.want(o.callAs(t.Context(), "", "POST", followUp, object{"content": "x"}), 404, 10015) // first things first
		time.Sleep(3*time.Second + time.Millisecond)                                            // of the bubble's clock
		o.want(o.respond(late, say), 404, 10062)
		if got := o.Interactions()[0]; !got.Failed || got.Answered {
			t.Errorf("%+v", got)
		}
		used := o.UseCommand(o.text, o.ana, "a", nil)
		o.want(o.respond(used, object{"type": 4, "data": object{"content": ""}}), 400, 50006)
		o.want(o.respond(used, say), 204, 0)
		o.want(o.respond(used, say), 400, 40060)
		followUp = "/webhooks/" + o.Application() + "/" + used.Token
		o.want(o.callAs(t.Context(), "", "POST", followUp, object{"content": "x", "flags": 64}), 200, 0)
		time.Sleep(15*time.Minute + time.Millisecond) // of the bubble's clock
		o.want(o.callAs(t.Context(), "", "POST", followUp, object{"content": "x"}), 401, 50027)
	})
}

// TestCommandByPost has an endpoint of its own answer commands.
func TestCommandByPost(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.register("a")
	key, err := hex.DecodeString(o.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	posted := 0
	answer, status := `{"type":4,"data":{"content":"done","flags":64}}`, http.StatusOK
	set := func(body string, code int) {
		mu.Lock()
		defer mu.Unlock()
		answer, status = body, code
	}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		signature, err := hex.DecodeString(r.Header.Get("X-Signature-Ed25519"))
		if err != nil || !ed25519.Verify(key, append([]byte(r.Header.Get("X-Signature-Timestamp")), body...), signature) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var i struct{ Type int }
		if err := json.Unmarshal(body, &i); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		if i.Type == 1 {
			_, _ = io.WriteString(w, `{"type":1}`)
			return
		}
		posted++
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer endpoint.Close()
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"type":1}`) }))
	defer careless.Close()
	if err := o.SetInteractionsEndpoint(t.Context(), careless.URL); err == nil {
		t.Error("an endpoint that checks no signature is taken")
	}
	if err := o.SetInteractionsEndpoint(t.Context(), endpoint.URL); err != nil {
		t.Fatal(err)
	}
	if a := o.call("GET", "/applications/@me", nil); a.str("interactions_endpoint_url") != endpoint.URL {
		t.Error(a.body)
	}
	last := func() Interaction {
		list := o.Interactions()
		return list[len(list)-1]
	}
	wait := func(condition func() bool) {
		t.Helper()
		if err := o.Wait(t.Context(), condition); err != nil {
			t.Fatal(err)
		}
	}
	o.UseCommand(o.text, o.ana, "a", nil)
	wait(func() bool { return last().Answered })
	if got := last(); len(got.Answers) != 1 || got.Answers[0].Text != "done" || !got.Answers[0].Ephemeral {
		t.Errorf("%+v", got)
	}
	set("", http.StatusInternalServerError)
	o.UseCommand(o.text, o.ana, "a", nil)
	wait(func() bool { return last().Failed })
	set("", http.StatusAccepted)
	used := o.UseCommand(o.text, o.ana, "a", nil)
	wait(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return posted == 3
	})
	o.want(o.respond(used, object{"type": 4, "data": object{"content": "later"}}), 204, 0)
	if !last().Answered {
		t.Errorf("%+v", last())
	}
	if len(o.Faults()) != 0 {
		t.Errorf("%q", o.Faults())
	}
	set(`{"type":4,"data":{"text":"x"}}`, http.StatusOK)
	o.UseCommand(o.text, o.ana, "a", nil)
	wait(func() bool { return last().Failed })
	if len(o.Faults()) != 1 {
		t.Errorf("%q", o.Faults())
	}
	if err := o.SetInteractionsEndpoint(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}
