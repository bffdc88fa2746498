package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pocketping/bridge/internal/words"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 12 * time.Second
)

// child is one run of the bridge's process.
type child struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	err   error // once ended is closed
}

// reserve finds the bridge's address. It is the same for every run: an app server's configuration does not change in a crash.
func (d *demo) reserve(ctx context.Context) error {
	ln, err := listen(ctx, bridgePort)
	if err != nil {
		return err
	}
	d.bridge = "http://" + ln.Addr().String()
	return ln.Close()
}

// startBridge starts the bridge with an environment of the demo's own. It is ended when ctx ends.
func (d *demo) startBridge(ctx context.Context) (*child, error) {
	host, port, err := net.SplitHostPort(d.bridge[len("http://"):])
	if err != nil {
		return nil, err
	}
	c := &child{log: filepath.Join(d.dir, "bridge.log"), ended: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	c.cmd = exec.CommandContext(ctx, d.options.Command[0], d.options.Command[1:]...) //nolint:gosec // the command is this very program
	c.cmd.Dir = d.dir                                                                // no .env of anyone's
	c.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir,
		"PORT=" + port, "BIND=" + host, "PUBLIC_URL=" + d.bridge, "DATA_DIR=" + filepath.Join(d.dir, "data"),
	}, append(d.doorEnv(), d.options.Env...)...)
	d.mu.Lock()
	limited, language := d.switches.Limits, d.switches.Language
	d.mu.Unlock()
	if language != "" {
		c.cmd.Env = append(c.cmd.Env, "LANGUAGE="+language)
	}
	for _, a := range d.apps {
		c.cmd.Env = append(c.cmd.Env, slices.DeleteFunc(a.env(), func(one string) bool { return limited && strings.HasSuffix(one, noRate) })...)
	}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = stopTimeout
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		c.err = c.cmd.Wait()
		_ = log.Close()
		close(c.ended)
	}()
	return c, nil
}

// stop ends the process as an operator of the machine would.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.ended
}

// kill ends the process as kill -9 or a crash would: it can do nothing more.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// fault is why the child is not as it should be, with what it last said.
func (c *child) fault(what string) error {
	said, _ := os.ReadFile(c.log)
	if len(said) > 4000 {
		said = said[len(said)-4000:]
	}
	return fmt.Errorf("%s; it said:\n%s", what, said)
}

// ready waits until the bridge takes requests.
func (d *demo) ready(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, _, err := d.call(ctx, http.MethodGet, "/readyz", nil, ""); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return c.fault("the bridge ended at its start")
		case <-ctx.Done():
			return c.fault("the bridge does not get ready")
		}
	}
}

// bridgeState is the bridge's process, for the page.
type bridgeState struct {
	Running  bool      `json:"running"`
	Ready    bool      `json:"ready"` // it takes requests
	PID      int       `json:"pid,omitempty"`
	Starts   int       `json:"starts"`
	Kills    int       `json:"kills"`
	Since    time.Time `json:"since"`
	Accepted int       `json:"accepted"` // events that it has answered with 200
	Unsent   int       `json:"unsent"`   // events that the app server has and the bridge has not accepted
	Lanes    []lane    `json:"lanes"`
	Failed   int       `json:"failed"` // dead letters
	Trouble  string    `json:"trouble,omitempty"`
}

// lane is one of the bridge's queues, as its /readyz tells.
type lane struct {
	Lane    string  `json:"lane"`
	State   string  `json:"state"`
	Reason  string  `json:"reason,omitempty"`
	Waiting int     `json:"waiting"`
	Failing int     `json:"failingSessions,omitempty"`
	Oldest  float64 `json:"oldest"` // seconds
}

// run starts the bridge and has the app server register with it. The bridge is one that ended before, or the first.
func (d *demo) run(ctx context.Context) (*child, error) {
	c, err := d.startBridge(ctx)
	if err != nil {
		return nil, err
	}
	d.update(func() {
		d.child = c
		d.process.Running, d.process.Ready, d.process.PID, d.process.Since = true, false, c.cmd.Process.Pid, time.Now()
		d.process.Starts++
		d.process.Trouble = ""
	})
	go d.mourn(ctx, c)
	if err := d.ready(ctx, c); err != nil {
		return c, err
	}
	d.update(func() { d.process.Ready = d.child == c && d.process.Running })
	return c, d.register(ctx)
}

// mourn notes the child's end.
func (d *demo) mourn(ctx context.Context, c *child) {
	<-c.ended
	d.update(func() {
		if d.child != c {
			return
		}
		d.process.Running, d.process.Ready, d.process.PID, d.process.Since = false, false, 0, time.Now()
		if !d.killed && ctx.Err() == nil {
			d.process.Trouble = "the bridge ended by itself: " + strconv.Quote(c.cmd.ProcessState.String())
			d.out.say("the bridge", "ended by itself (%s)", c.cmd.ProcessState)
		}
	})
}

// killBridge ends the bridge without a word, as kill -9 does.
func (d *demo) killBridge() error {
	d.power.Lock()
	defer d.power.Unlock()
	var c *child
	d.update(func() {
		if d.process.Running {
			c, d.killed = d.child, true
		}
	})
	if c == nil {
		return refuse(http.StatusConflict, "the bridge is not running")
	}
	c.kill()
	d.update(func() { d.process.Kills++ })
	d.out.say("the bridge", "process %d is killed (kill -9)", c.cmd.Process.Pid)
	return nil
}

// noRate ends a setting that has the bridge go as fast as it can. Where the platforms have their limits, it goes at its default paces.
const noRate = "_RATE=off"

// setLimits has the platforms keep to their documented limits, or to none. The bridge starts again with the settings for that, if it runs.
func (d *demo) setLimits(ctx context.Context, on bool) error {
	d.power.Lock()
	defer d.power.Unlock()
	for _, a := range d.apps {
		a.limit(on)
	}
	d.update(func() { d.switches.Limits = on })
	d.out.say("the bridge", "starts again, %s", map[bool]string{true: "at its default paces", false: "as fast as it can"}[on])
	return d.restart(ctx)
}

// setLanguage has the bridge speak another language to operators. It starts again with it, if it runs.
func (d *demo) setLanguage(ctx context.Context, name string) error {
	if words.Languages()[name] == nil {
		return refuse(http.StatusBadRequest, "language: one of %s", strings.Join(slices.Sorted(maps.Keys(words.Languages())), ", "))
	}
	d.power.Lock()
	defer d.power.Unlock()
	d.update(func() { d.switches.Language = name })
	d.out.say("the bridge", "starts again, and speaks %q to operators", name)
	return d.restart(ctx)
}

// restart ends the bridge in order, if it runs, and starts it with what is set now. The caller holds the power.
func (d *demo) restart(ctx context.Context) error {
	var c *child
	d.update(func() {
		if d.process.Running {
			c, d.killed = d.child, true
		}
	})
	if c == nil {
		return nil
	}
	c.stop()
	_, err := d.run(ctx)
	d.update(func() {
		if d.killed = false; err != nil {
			d.process.Trouble = err.Error()
		}
	})
	if err != nil {
		return refuse(http.StatusBadGateway, "the bridge does not start: %v", err)
	}
	return nil
}

// reviveBridge starts the bridge again, with the same log and the same address.
func (d *demo) reviveBridge(ctx context.Context) error {
	d.power.Lock()
	defer d.power.Unlock()
	running := false
	d.update(func() { running, d.killed = d.process.Running, false })
	if running {
		return refuse(http.StatusConflict, "the bridge is running already")
	}
	c, err := d.run(ctx)
	if err != nil {
		d.update(func() { d.process.Trouble = err.Error() })
		return refuse(http.StatusBadGateway, "the bridge does not start: %v", err)
	}
	d.out.say("the bridge", "runs again, as process %d", c.cmd.Process.Pid)
	return nil
}
