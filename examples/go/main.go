// Command go is an app server whose visitors talk to the team in Telegram, Discord and Slack.
//
//	make demo          # in one terminal: a bridge, with stand-ins for the chat apps
//	make example-go    # in another: this, at http://localhost:3004
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	bridgeclient "github.com/pocketping/bridge/clients/go"
	// A stand-in for the SDK, so that this runs anywhere. In your app: pocketping "github.com/Ruwad-io/pocketping/sdk-go"
	pocketping "github.com/pocketping/bridge/clients/go/standin"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run() error {
	port := env("PORT", "3004")
	base := env("BASE_URL", "http://localhost:"+port)

	pp := pocketping.New(pocketping.Config{UploadBaseURL: base + "/files"})
	attached, err := bridgeclient.Attach(pp, bridgeclient.Config{
		URL:     env("BRIDGE_URL", "http://localhost:3001"),
		APIKey:  os.Getenv("BRIDGE_API_KEY"),
		Spool:   os.Getenv("SPOOL"), // a folder: what waits for the bridge survives this process
		OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/pocketping/", attached.Routes("/pocketping"))
	mux.Handle("/files/", &files{kept: make(map[string][]byte)})
	mux.Handle("/", http.FileServer(http.Dir(env("PAGE", "../page"))))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = attached.Close(closing)
		_ = server.Close()
	})
	fmt.Println("the shop is at " + base)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// files keeps visitors' files in memory: the SDK leaves them to the app.
type files struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, there := f.kept[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10<<20))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		f.kept[r.URL.Path] = data
	case there:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(data)
	default:
		http.NotFound(w, r)
	}
}
