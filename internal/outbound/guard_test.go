package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func guard(t *testing.T, setting string, names map[string]string) *Guard {
	t.Helper()
	g, err := NewGuard(setting)
	if err != nil {
		t.Fatal(err)
	}
	g.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "broken.example" {
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
		}
		text, ok := names[host]
		if !ok {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(text) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs, nil
	}
	return g
}

var names = map[string]string{
	"app.example":      "93.184.215.14 2606:2800:21f:cb07:6820:80da:af6b:8b2c",
	"app.example.":     "93.184.215.14",
	"inside.example":   "10.1.2.3",
	"mixed.example":    "93.184.215.14 10.1.2.3",
	"six.example":      "93.184.215.14 ::1",
	"meta.example":     "169.254.169.254",
	"mapped.example":   "::ffff:127.0.0.1",
	"localhost":        "127.0.0.1",
	"localhost.":       "127.0.0.1",
	"app_1.internal":   "172.20.0.3",
	"xn--bcher-kva.ch": "93.184.215.14",
}

func TestCheckURL(t *testing.T) {
	const (
		ok     = 0 // public
		inside = 1 // allowed by the setting
		never  = 2
	)
	for _, c := range []struct {
		url  string
		want int
		says string
	}{
		{"https://93.184.215.14/hook", ok, ""},
		{"http://93.184.215.14:8080/hook?x=1", ok, ""},
		{"https://[2606:4700:4700::1111]/", ok, ""},
		{"https://[::ffff:93.184.215.14]/", ok, ""},
		{"https://[64:ff9b::8.8.8.8]/", ok, ""},
		{"https://[2002:808:808::1]/", ok, ""},
		{"https://app.example/a/b", ok, ""},
		{"https://app.example./", ok, ""},
		{"HTTPS://APP.EXAMPLE/", never, "does not exist"}, // the fake knows small letters only; the scheme is taken
		{"https://xn--bcher-kva.ch/", ok, ""},
		{"https://broken.example/", ok, ""},

		{"http://127.0.0.1/", inside, "loopback"},
		{"http://127.255.255.254/", inside, "loopback"},
		{"http://[::1]/", inside, "loopback"},
		{"http://[0:0:0:0:0:0:0:1]:80/", inside, "loopback"},
		{"http://[::ffff:127.0.0.1]/", inside, "loopback"},
		{"http://[::ffff:7f00:1]/", inside, "loopback"},
		{"http://[::127.0.0.1]/", inside, "loopback"},
		{"http://[64:ff9b::127.0.0.1]/", inside, "loopback"},
		{"http://[64:ff9b::a00:1]/", inside, "private"},
		{"http://[2002:7f00:1::]/", inside, "loopback"},
		{"http://[2002:a00:1::]/", inside, "private"},
		{"http://localhost/", inside, "loopback"},
		{"http://localhost./", inside, "loopback"},
		{"http://10.0.0.1/", inside, "private"},
		{"http://172.16.0.1/", inside, "private"},
		{"http://172.31.255.255/", inside, "private"},
		{"http://192.168.1.1:3000/", inside, "private"},
		{"http://100.64.0.1/", inside, "shared"},
		{"http://100.127.255.254/", inside, "shared"},
		{"http://[fc00::1]/", inside, "unique local"},
		{"http://[fd12:3456::1]/", inside, "unique local"},
		{"http://[fec0::1]/", inside, "site-local"},
		{"http://198.18.0.1/", inside, "benchmarks"},
		{"http://192.0.2.1/", inside, "examples"},
		{"http://198.51.100.1/", inside, "examples"},
		{"http://203.0.113.1/", inside, "examples"},
		{"http://[2001:db8::1]/", inside, "examples"},
		{"http://[3fff::1]/", inside, "examples"},
		{"http://[2001:20::1]/", inside, "reserved"},
		{"http://192.0.0.8/", inside, "reserved"},
		{"http://192.88.99.1/", inside, "reserved"},
		{"http://inside.example/", inside, "private"},
		{"http://mixed.example/", inside, "private"},
		{"http://six.example/", inside, "loopback"},
		{"http://mapped.example/", inside, "loopback"},
		{"http://app_1.internal/", inside, "private"},

		{"http://0.0.0.0/", never, "unspecified"},
		{"http://0.1.2.3/", never, "unspecified"},
		{"http://[::]/", never, "unspecified"},
		{"http://[::ffff:0.0.0.0]/", never, "unspecified"},
		{"http://169.254.1.1/", never, "link-local"},
		{"http://[fe80::1]/", never, "link-local"},
		{"http://169.254.169.254/latest/meta-data/", never, "metadata"},
		{"http://169.254.170.2/v2/credentials", never, "metadata"},
		{"http://[::ffff:169.254.169.254]/", never, "metadata"},
		{"http://[64:ff9b::a9fe:a9fe]/", never, "metadata"},
		{"http://[2002:a9fe:a9fe::]/", never, "metadata"},
		{"http://meta.example/", never, "metadata"},
		{"http://100.100.100.200/", never, "metadata"},
		{"http://192.0.0.192/", never, "metadata"},
		{"http://168.63.129.16/", never, "metadata"},
		{"http://[fd00:ec2::254]/", never, "metadata"},
		{"http://[fd20:ce::254]/", never, "metadata"},
		{"http://224.0.0.1/", never, "multicast"},
		{"http://[ff02::1]/", never, "multicast"},
		{"http://240.0.0.1/", never, "reserved"},
		{"http://255.255.255.255/", never, "reserved"},
		{"http://[2001:0:1::1]/", never, "Teredo"},
		{"http://[64:ff9b:1::1]/", never, "translator"},
		{"http://[4000::1]/", never, "reserved"},
		{"http://[fe80::1%25lo]/", never, "zone"},
		{"http://[::1%25lo]/", never, "zone"},
		{"http://2130706433/", never, "four decimal numbers"},
		{"http://0x7f000001/", never, "four decimal numbers"},
		{"http://0X7F.1/", never, "four decimal numbers"},
		{"http://0x7f.0x0.0x0.0x1/", never, "four decimal numbers"},
		{"http://0177.0.0.1/", never, "four decimal numbers"},
		{"http://017700000001/", never, "four decimal numbers"},
		{"http://127.1/", never, "four decimal numbers"},
		{"http://127.0.0.01/", never, "four decimal numbers"},
		{"http://127.0.0.1./", never, "four decimal numbers"},
		{"http://127.0.0.0x1/", never, "four decimal numbers"},
		{"http://1.2.3.4.5/", never, "four decimal numbers"},
		{"http://127.0.0.1../", never, "plain letters"},
		{"http://./", never, "plain letters"},
		{"http://app..example/", never, "plain letters"},
		{"http://１２７.0.0.1/", never, "plain letters"},
		{"http://127。0。0。1/", never, "plain letters"},
		{"http://bücher.ch/", never, "plain letters"},
		{"http://127.0.0.1%00.app.example/", never, "valid URL"},
		{"http://127%2e0.0.1/", never, "valid URL"},
		{"http://[::1/", never, "valid URL"},
		{"http://[127.0.0.1]/", never, "valid"},
		{"http://::1/", never, "valid"},
		{"http://[:::1]/", never, "valid"},
		{"http://app.example\\@127.0.0.1/", never, "valid URL"},
		{"http://app.example@127.0.0.1/", never, "user name"},
		{"http://user:pass@app.example/", never, "user name"},
		{"http://@app.example/", never, "user name"},
		{"http://app.example:0/", never, "port"},
		{"http://app.example:99999/", never, "port"},
		{"http://app.example:http/", never, "valid URL"},
		{"http:///hook", never, "host"},
		{"http:app.example/", never, "host"},
		{"//app.example/", never, "http://"},
		{"app.example", never, "http://"},
		{"ftp://app.example/", never, "http://"},
		{"file:///etc/passwd", never, "http://"},
		{"unix:///run/docker.sock", never, "http://"},
		{"javascript:alert(1)", never, "http://"},
		{"", never, "http://"},
		{"http://nowhere.example/", never, "does not exist"},
		{"http://app.example/\n", never, "valid URL"},
		{"https://app.example/" + strings.Repeat("a", 8192), never, "8192"},
		{"https://" + strings.Repeat("a", 300) + ".example/", never, "host"},
	} {
		t.Run(c.url[:min(len(c.url), 60)], func(t *testing.T) {
			off := guard(t, "off", names).CheckURL(t.Context(), c.url)
			on := guard(t, "on", names).CheckURL(t.Context(), c.url)
			if (off == nil) != (c.want == ok) || (on == nil) != (c.want != never) {
				t.Fatalf("off: %v, on: %v", off, on)
			}
			if off == nil {
				return
			}
			r, isRefused := errors.AsType[*RefusedError](off)
			if !isRefused || !strings.Contains(r.Reason, c.says) {
				t.Errorf("off: %v, want a *RefusedError that says %q", off, c.says)
			}
			if got := strings.Contains(r.Reason, GuardSetting); got != (c.want == inside) {
				t.Errorf("%q: names the setting: %v", r.Reason, got)
			}
			if host := strings.Trim(hostOf(c.url), "[]"); len(host) > 4 && strings.Contains(r.Reason, host) {
				t.Errorf("%q carries the host", r.Reason)
			}
		})
	}
}

func hostOf(rawURL string) string {
	_, rest, _ := strings.Cut(rawURL, "//")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

func TestGuardRanges(t *testing.T) {
	g := guard(t, " 10.1.99.0/16, 192.168.7.9 ,fd12::/16,::ffff:172.16.0.0/108,", names)
	for addr, want := range map[string]bool{
		"10.1.2.3":           true,
		"10.2.0.1":           false,
		"::ffff:10.1.2.3":    true,
		"64:ff9b::10.1.2.3":  true,
		"64:ff9b::10.2.0.1":  false,
		"192.168.7.9":        true,
		"192.168.7.8":        false,
		"fd12::1":            true,
		"fd13::1":            false,
		"172.17.0.1":         true,
		"127.0.0.1":          false,
		"93.184.215.14":      true,
		"169.254.169.254":    false,
		"::ffff:93.184.0.14": true,
	} {
		if err := g.CheckAddr(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed: %v", addr, err, want)
		}
	}
	all := guard(t, "0.0.0.0/0,::/0", names)
	for addr, want := range map[string]bool{"127.0.0.1": true, "fd00::1": true, "169.254.1.1": false, "ff02::1": false} {
		if err := all.CheckAddr(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("all ranges: %s: %v, want allowed: %v", addr, err, want)
		}
	}
	if err := g.CheckAddr(netip.Addr{}); err == nil {
		t.Error("the zero address is allowed")
	}
}

func TestNewGuard(t *testing.T) {
	for _, setting := range []string{"", "off", "OFF", " on ", "true", "10.0.0.0/8", "10.0.0.5", "::1,", "fd00::/8, 10.0.0.0/8"} {
		if _, err := NewGuard(setting); err != nil {
			t.Errorf("%q: %v", setting, err)
		}
	}
	for _, setting := range []string{"maybe", "10.0.0.0/33", "10.0.0/8", "on,10.0.0.0/8", "fe80::1%lo", "fe80::%lo/10"} {
		if _, err := NewGuard(setting); err == nil || !strings.Contains(err.Error(), GuardSetting) {
			t.Errorf("%q: %v, want an error that names the setting", setting, err)
		}
	}
}

// A name that has changed its address since it was checked meets the guard again where the connection is made.
func TestGuardAtConnectTime(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request arrived") }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	g := guard(t, "off", map[string]string{"localhost": "93.184.215.14"})
	target := "http://localhost:" + port + "/hook"
	if err := g.CheckURL(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	client := NewClient(Options{Guard: g})
	defer client.CloseIdleConnections()
	for _, u := range []string{target, srv.URL, "http://[fe80::1%25lo]:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		ctx, x := Trace(t.Context())
		err := get(ctx, t, client, u)
		if r, ok := errors.AsType[*RefusedError](err); !ok {
			t.Errorf("%s: %v, want a *RefusedError", u, err)
		} else if d := Failure("post", err, x); d.Detail != r.Reason || x.Sent || d.Reason != "transient" {
			t.Errorf("%s: %+v, %+v", u, d, x)
		}
	}
	if err := g.control(t.Context(), "udp4", "93.184.215.14:80", nil); err == nil {
		t.Error("UDP is allowed")
	}
	if err := g.control(t.Context(), "tcp4", "app.example:80", nil); err == nil {
		t.Error("a name is allowed")
	}
}

func TestGuardLetsThrough(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer srv.Close()
	for _, setting := range []string{"on", "127.0.0.0/8"} {
		client := NewClient(Options{Guard: guard(t, setting, nil)})
		if err := get(t.Context(), t, client, srv.URL); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
		client.CloseIdleConnections()
	}
}

func TestOnlyUnguardedClientsUseAProxy(t *testing.T) {
	if tr := NewClient(Options{}).Transport.(*roundTripper); tr.base.Proxy == nil {
		t.Error("an unguarded client uses no proxy")
	}
	if tr := NewClient(Options{Guard: guard(t, "on", nil)}).Transport.(*roundTripper); tr.base.Proxy != nil {
		t.Error("a guarded client uses a proxy")
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://[fe80::1%25lo]/", "http://0x7f.1/", "http://[::ffff:127.0.0.1]:1/", "http://a.b:1/?x#y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rawURL string) {
		g := guard(t, "off", names)
		if err := g.CheckURL(t.Context(), rawURL); err != nil {
			if _, ok := errors.AsType[*RefusedError](err); !ok {
				t.Errorf("%q: %v is not a *RefusedError", rawURL, err)
			}
		}
	})
}
