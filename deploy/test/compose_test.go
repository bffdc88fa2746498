package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads a compose file as Docker Compose does.
func load(t *testing.T, name string, env ...string) *types.Project {
	t.Helper()
	folder, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, name)}, cli.WithWorkingDirectory(folder), cli.WithName("bridge"),
		cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return project
}

// value is what a service gets of a setting; nothing where it gets none.
func value(t *testing.T, p *types.Project, name string) string {
	t.Helper()
	service, err := p.GetService("bridge")
	if err != nil {
		t.Fatal(err)
	}
	if v := service.Environment[name]; v != nil {
		return *v
	}
	return ""
}

func TestComposeReadsThem(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, redis := range map[string]string{"docker-compose.yml": "redis://redis:6379/0", "docker-compose.embedded.yml": ""} {
		p := load(t, name)
		if got := value(t, p, "REDIS_URL"); got != redis {
			t.Errorf("%s: REDIS_URL is %q", name, got)
		}
		if got := value(t, p, "API_KEY_FILE") + value(t, p, "TELEGRAM_BOT_TOKEN"); got != "" {
			t.Errorf("%s: what nobody has set is %q", name, got)
		}
		want := []string{"bridge"}
		if redis != "" {
			want = append(want, "redis")
		}
		if got := p.ServiceNames(); !slices.Equal(got, want) {
			t.Errorf("%s: the services are %v", name, got)
		}
		p = load(t, name, "API_KEY_FILE="+secret, "TELEGRAM_BOT_TOKEN=1:a", "REDIS_URL=redis://mine:6379/0", "VERSION=v1")
		if got := value(t, p, "API_KEY_FILE"); got != "/run/secrets/api_key" || p.Secrets["api_key"].File != secret {
			t.Errorf("%s: API_KEY_FILE is %q, and the secret %q", name, got, p.Secrets["api_key"].File)
		}
		if got := value(t, p, "TELEGRAM_BOT_TOKEN"); got != "1:a" {
			t.Errorf("%s: a setting of the environment is %q", name, got)
		}
		if got := value(t, p, "REDIS_URL"); redis != "" && got != "redis://mine:6379/0" {
			t.Errorf("%s: a REDIS_URL of one's own is %q", name, got)
		}
		service, err := p.GetService("bridge")
		if err != nil {
			t.Fatal(err)
		}
		if v := service.Build.Args["VERSION"]; v == nil || *v != "v1" {
			t.Errorf("%s: the build gets the version %v", name, v)
		}
		if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
			if _, err = os.Stat(service.Build.Dockerfile); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, v := range service.Volumes {
			if _, there := p.Volumes[v.Source]; v.Type == "volume" && !there {
				t.Errorf("%s: there is no volume %q", name, v.Source)
			}
		}
	}
}
