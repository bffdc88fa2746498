package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// person sits at the terminal of a program.
type person struct {
	t   *testing.T
	tty *os.File
	cmd *exec.Cmd

	mu   sync.Mutex
	said bytes.Buffer
	read int // of what was said
	news chan struct{}
	end  chan struct{}
}

// sit starts the program in a terminal.
func sit(t *testing.T, dir string, env map[string]string, args ...string) *person {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir, cmd.Env = dir, []string{asBridge + "=1", "GORACE=atexit_sleep_ms=0"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, tty: tty, cmd: cmd, news: make(chan struct{}, 1), end: make(chan struct{})}
	go func() {
		defer close(p.end)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			p.mu.Lock()
			p.said.Write(buf[:n])
			p.mu.Unlock()
			select {
			case p.news <- struct{}{}:
			default:
			}
			if err != nil { // as it is on Linux when the program has ended
				_ = cmd.Wait()
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.end
		_ = tty.Close()
	})
	return p
}

// sees waits until the program has said a text, after what was seen before.
func (p *person) sees(text string) {
	p.t.Helper()
	timeout := time.After(hung)
	for {
		p.mu.Lock()
		rest := p.said.String()[p.read:]
		at := strings.Index(rest, text)
		if at >= 0 {
			p.read += at + len(text)
		}
		p.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-p.news:
		case <-p.end:
			p.t.Fatalf("it ended and did not say %q, but:\n%s", text, rest)
		case <-timeout:
			p.t.Fatalf("it did not say %q, but:\n%s", text, rest)
		}
	}
}

// answers types a line when the program has asked.
func (p *person) answers(question, line string) {
	p.t.Helper()
	p.sees(question)
	if _, err := p.tty.WriteString(line + "\n"); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the program's end and returns all that it said.
func (p *person) ends() (code int, said string) {
	<-p.end
	return p.cmd.ProcessState.ExitCode(), p.said.String()
}

// standIns are the stand-ins' addresses, and where the bridge is to listen and keep its store.
func (s *surroundings) standIns() map[string]string {
	out := map[string]string{"PORT": "0", "BIND": "127.0.0.1", "DATA_DIR": s.t.TempDir()}
	for _, name := range []string{"TELEGRAM_API_URL", "DISCORD_API_URL", "SLACK_API_URL"} {
		out[name] = s.env[name]
	}
	return out
}

// worksAlone starts the bridge with nothing but a file, and looks that it is ready and that its platforms are well.
func (s *surroundings) worksAlone(file string) {
	s.t.Helper()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Fatalf("%v %v", info, err)
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir, cmd.Env = filepath.Dir(file), []string{asBridge + "=1"}
	p := program.Start(s.t, cmd, program.Listens, hung)
	defer p.Kill()
	if p.Ready == "" {
		s.t.Fatalf("the bridge ended at its start:\n%s", p.Output())
	}
	resp, err := http.Get("http://" + p.Ready + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%v %v", resp, err)
	}
	_ = resp.Body.Close()
	resp, err = http.Get("http://" + p.Ready + "/api/presence")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		s.t.Fatalf("without a key: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	cmd = exec.Command(self, "check", "-online")
	cmd.Dir, cmd.Env = filepath.Dir(file), []string{asBridge + "=1"}
	check := program.Start(s.t, cmd, program.Listens, hung)
	if said := check.Output(); check.Cmd.ProcessState.ExitCode() != 0 || strings.Count(said, "ok    ") < 4 {
		s.t.Errorf("bridge check -online says\n%s", said)
	}
}

// TestInitAsks sets the bridge up on all platforms, by somebody who errs at first.
func TestInitAsks(t *testing.T) {
	t.Parallel()
	s := newSurroundings(t)
	ana := s.telegram.AddUser(telegram.User{FirstName: "Ana"})
	dir := t.TempDir()
	p := sit(t, dir, s.standIns(), "init")
	p.answers("One or more, with commas:", "none")
	p.answers("One or more, with commas:", "1, slack,2")

	p.answers("DISCORD_BOT_TOKEN:", "")
	p.answers("DISCORD_BOT_TOKEN:", s.discord.Token()+"x")
	p.sees("✗ DISCORD_BOT_TOKEN: ")
	p.answers("DISCORD_BOT_TOKEN:", s.discord.Token())
	p.sees("https://discord.com/oauth2/authorize?client_id=")
	p.sees("&scope=bot+applications.commands&permissions=326954634304 and choose your server")
	p.answers("DISCORD_CHANNEL_ID:", "https://discord.com/channels/1/2")
	p.sees("✗ DISCORD_CHANNEL_ID: ")
	p.answers("or give another DISCORD_CHANNEL_ID:", "https://discord.com/channels/1/"+s.channel)
	p.sees("✓ the bot ")
	p.sees("writes in #visitors")

	p.sees("https://api.slack.com/apps?new_app=1&manifest_yaml=display_information%3A%0A++name%3A+PocketPing%0A")
	p.answers("SLACK_BOT_TOKEN:", s.slack.BotToken())
	p.answers("SLACK_APP_TOKEN:", s.slack.AppToken())
	p.answers("SLACK_CHANNEL_ID:", "https://team.slack.com/archives/"+s.place)
	p.sees("✓ the bot ")

	p.answers("TELEGRAM_BOT_TOKEN:", s.telegram.Token())
	p.sees("?startgroup&admin=manage_topics and choose the group")
	s.telegram.Say(s.chat, 0, ana.ID, "/id")
	p.answers("Enter when that is done:", "")
	p.sees(`✓ it is the group "Support"`)
	p.sees("✓ the bot ")

	p.answers("WIDGET_ORIGINS:", "www.example.com")
	p.sees("✗ WIDGET_ORIGINS: ")
	p.answers("WIDGET_ORIGINS:", "")
	p.sees(".env is written")
	code, said := p.ends()
	if code != 0 {
		t.Fatalf("it ends with %d:\n%s", code, said)
	}
	for _, secret := range []string{s.discord.Token(), s.slack.BotToken(), s.slack.AppToken(), s.telegram.Token()} {
		if strings.Contains(said, secret) {
			t.Error("it shows a token")
		}
	}
	file := filepath.Join(dir, ".env")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p = sit(t, dir, s.standIns(), "init")
	p.answers(".env is there already. Write over it? [y/N]", "")
	if code, said := p.ends(); code != 1 || !strings.Contains(said, "-force") {
		t.Errorf("it ends with %d:\n%s", code, said)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was written over: %v", err)
	}
	p = sit(t, dir, s.standIns(), "init", "-to", "other.env") // and gives up
	p.sees("One or more, with commas:")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.ends(); code != 1 {
		t.Errorf("it ends with %d", code)
	}
	if _, err := os.Stat(filepath.Join(dir, "other.env")); err == nil {
		t.Error("a file was written though it was given up")
	}
	s.worksAlone(file)
}

// TestInitWithoutTerminal says what is missing, and writes the file when nothing is.
func TestInitWithoutTerminal(t *testing.T) {
	t.Parallel()
	s := newSurroundings(t)
	file := filepath.Join(t.TempDir(), ".env")
	run := func(code int, says string, args ...string) {
		t.Helper()
		got, stdout, stderr := command(t, s.standIns(), append([]string{"init", "-to", file}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%v ends with %d and says\n%s%s", args, got, stdout, stderr)
		}
		_, err := os.Stat(file)
		if written := err == nil; written != (code == 0) {
			t.Errorf("%v: written: %v", args, written)
		}
	}
	set := func(names ...string) (args []string) {
		for _, name := range names {
			args = append(args, "-set", name+"="+s.env[name])
		}
		return args
	}
	run(1, "no chat platform is given: TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
	run(2, "write NAME=value", "-set", "NONSENSE=1")
	run(1, "DISCORD_CHANNEL_ID: is not given", set("DISCORD_BOT_TOKEN")...)
	run(1, "DISCORD_CHANNEL_ID: ", append(set("DISCORD_BOT_TOKEN"), "-set", "DISCORD_CHANNEL_ID=12345678901234567")...)
	run(1, "DISCORD_BOT_TOKEN: ", append(set("DISCORD_CHANNEL_ID"), "-set", "DISCORD_BOT_TOKEN="+s.discord.Token()+"x")...)
	all := set("DISCORD_BOT_TOKEN", "DISCORD_CHANNEL_ID", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_CHANNEL_ID", "TELEGRAM_BOT_TOKEN")
	s.telegram.Say(s.chat, 0, s.telegram.AddUser(telegram.User{FirstName: "Ana"}).ID, "hello") // which tells the group's number
	run(1, "PUBLIC_OPERATOR_NAME: has a quote", append(all, "-set", "PUBLIC_OPERATOR_NAME=Ana's")...)
	run(0, "is written", append(all, "-set", "PUBLIC_OPERATOR_NAME=Ana # 1")...)
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "\nPUBLIC_OPERATOR_NAME='Ana # 1'\n") {
		t.Errorf("%s %v", text, err)
	}
	got, _, stderr := command(t, s.standIns(), append([]string{"init", "-to", file}, all...)...)
	if got != 1 || !strings.Contains(stderr, "-force") {
		t.Errorf("over a file it ends with %d and says %s", got, stderr)
	}
	run(0, "is written", append(all, "-force")...)
	s.worksAlone(file)
}
