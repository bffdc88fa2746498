// Command testapp is an app server with the SDK's stand-in and the client, for the contract cases. Its environment says how it
// is wired; its first line says where it listens.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	bridgeclient "github.com/pocketping/bridge/clients/go"
	"github.com/pocketping/bridge/clients/go/standin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ai answers questions that ask for it.
type ai struct{}

func (ai) GenerateResponse(_ context.Context, messages []standin.Message, _ string) (string, error) {
	last := messages[len(messages)-1].Content
	if text, ok := strings.CutPrefix(last, "ai? "); ok {
		return "AI: " + text, nil
	}
	return "", nil
}

type told struct {
	mu     sync.Mutex
	Errors []string             `json:"errors"`
	Events []bridgeclient.Event `json:"-"`
	Types  []string             `json:"events"`
}

func run() error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:"+os.Getenv("APP_PORT"))
	if err != nil {
		return err
	}
	base := "http://" + ln.Addr().String()
	var storage standin.Storage = standin.NewMemoryStorage()
	if file := os.Getenv("APP_STORAGE"); file != "" {
		if storage, err = standin.NewFileStorage(file); err != nil {
			return err
		}
	}
	pp := standin.New(standin.Config{Storage: storage, AIProvider: ai{}, UploadBaseURL: base + "/files"})
	seen := &told{Errors: []string{}, Types: []string{}}
	config := bridgeclient.Config{
		URL: os.Getenv("BRIDGE_URL"), APIKey: os.Getenv("BRIDGE_KEY"), Spool: os.Getenv("APP_SPOOL"),
		OnError: func(err error) {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			seen.Errors = append(seen.Errors, err.Error())
		},
		OnEvent: func(e bridgeclient.Event) {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			seen.Types = append(seen.Types, e.Type)
		},
	}
	if secret := os.Getenv("APP_CALLBACK_SECRET"); secret != "" {
		config.Callback = &bridgeclient.Callback{PublicURL: base, Secret: secret}
	}
	attached, err := bridgeclient.Attach(pp, config)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	routes := attached.Routes("/pocketping", "http://shop.example")
	mux.Handle("/pocketping/", routes)
	files := map[string][]byte{}
	var filesMu sync.Mutex
	mux.HandleFunc("/files/", func(w http.ResponseWriter, r *http.Request) {
		filesMu.Lock()
		defer filesMu.Unlock()
		if r.Method == http.MethodPut {
			data := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(data)
			files[r.URL.Path] = data
			return
		}
		_, _ = w.Write(files[r.URL.Path])
	})
	mux.HandleFunc("/control/state", func(w http.ResponseWriter, _ *http.Request) {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		s := attached.Stats()
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": seen.Errors, "events": seen.Types, "stats": map[string]any{
			"queued": s.Queued, "sent": s.Sent, "dropped": s.Dropped, "repeats": s.Repeats, "unknown": s.Unknown, "connected": s.Connected,
			"bridge": s.Bridge,
		}})
	})
	mux.HandleFunc("/control/trigger", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			SessionID, Name string
			Data            map[string]any
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		answer(w, pp.TriggerEvent(r.Context(), in.SessionID, in.Name, in.Data))
	})
	mux.HandleFunc("/control/say", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SessionID, Content, Source, Name string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		_, err := pp.SendOperatorMessage(r.Context(), in.SessionID, in.Content, in.Source, in.Name)
		answer(w, err)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() { _ = server.Serve(ln) }()
	fmt.Println("listening " + base)
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = attached.Close(closing)
	_ = server.Close()
	return err
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_ = json.NewEncoder(w).Encode(map[string]bool{"ok": err == nil})
}
