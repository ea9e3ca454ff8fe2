package main

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"freshet.dev/services/freshet/internal/cli"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
	"freshet.dev/services/relay"
	"freshet.dev/services/server"
)

// composeFile has the parts of compose.yaml that the tests read.
type composeFile struct {
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
		Target     string `yaml:"target"`
	} `yaml:"build"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   []string          `yaml:"depends_on"`
}

func compose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// variable matches ${NAME:-default}, which Docker replaces by the default.
var variable = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`)

// TestComposeIsWhole checks that compose.yaml has Redis, NATS, a publisher, a relay and two servers that can reach each other.
func TestComposeIsWhole(t *testing.T) {
	file := compose(t)
	targets := map[string]int{}
	for name, s := range file.Services {
		targets[s.Build.Target]++
		if (s.Image == "") == (s.Build.Target == "") {
			t.Errorf("%s has neither an image nor a target, or both", name)
		}
		for _, d := range s.DependsOn {
			if _, ok := file.Services[d]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, d)
			}
		}
		for _, v := range s.Volumes {
			if volume, _, _ := strings.Cut(v, ":"); !slices.Contains(slices.Collect(maps.Keys(file.Volumes)), volume) {
				t.Errorf("%s has the volume %s, which is not declared", name, volume)
			}
		}
		for variable, value := range s.Environment {
			for _, u := range regexp.MustCompile(`(?:http|nats|redis)://([\w-]+):`).FindAllStringSubmatch(value, -1) {
				if _, ok := file.Services[u[1]]; !ok {
					t.Errorf("%s: %s names %s, which is not there", name, variable, u[1])
				}
			}
		}
	}
	if targets["publisher"] != 1 || targets["relay"] != 1 || targets["server"] != 2 || targets["freshet"] != 1 {
		t.Errorf("targets are %v", targets)
	}
	if file.Services["redis"].Image == "" || file.Services["nats"].Image == "" {
		t.Error("redis or nats is missing")
	}
	if p, r := file.Services["publisher"].Environment["FRESHET_STORE_URL"], file.Services["relay"].Environment["FRESHET_STORE_URL"]; p != r {
		t.Errorf("the publisher's store is %s, the relay's %s", p, r)
	}
	if a, b := file.Services["server-1"].Environment["FRESHET_INSTANCE"], file.Services["server-2"].Environment["FRESHET_INSTANCE"]; a == b {
		t.Errorf("both instances are called %s", a)
	}
}

// TestComposeSettings loads each service's settings as its program does, and refuses variables that the program does not have.
func TestComposeSettings(t *testing.T) {
	for name, s := range compose(t).Services {
		if s.Build.Target == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var config interface{ Validate() error }
			switch s.Build.Target {
			case "publisher":
				config = new(publisher.Config)
			case "relay":
				config = new(relay.Config)
			case "server":
				config = new(server.Config)
			}
			var known []string
			if config == nil {
				for _, v := range cli.Variables() {
					known = append(known, v.Name)
				}
			} else {
				for _, v := range variables(t, config) {
					known = append(known, v[0])
				}
			}
			for v, value := range s.Environment {
				if !slices.Contains(known, v) {
					t.Errorf("%s is no setting of %s", v, s.Build.Target)
				}
				t.Setenv(v, variable.ReplaceAllString(value, "$1"))
			}
			if config == nil {
				return
			}
			warnings, err := settings.Load(config)
			if err := errors.Join(err, config.Validate()); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %q", err, warnings)
			}
			_, listens, err := net.SplitHostPort(s.Environment["FRESHET_LISTEN"])
			if err != nil {
				t.Fatal(err)
			}
			targets := []string{listens}
			if _, ok := s.Environment["FRESHET_RESP_LISTEN"]; ok {
				targets = append(targets, "6380") // as the comment in compose.yaml sets it
			}
			for _, p := range s.Ports {
				parts := strings.Split(p, ":")
				if len(parts) != 3 || parts[0] != "127.0.0.1" || !slices.Contains(targets, parts[2]) {
					t.Errorf("port %s: want 127.0.0.1:PORT:%s", p, strings.Join(targets, "|"))
				}
			}
		})
	}
}

// TestDockerfile checks that each program of compose.yaml has a target with its default port, and that the copied files exist.
func TestDockerfile(t *testing.T) {
	for _, s := range compose(t).Services {
		if s.Build.Target == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, s.Build.Context, s.Build.Dockerfile))
		if err != nil {
			t.Fatal(err)
		}
		_, stage, ok := strings.Cut(string(text), "\nFROM base AS "+s.Build.Target+"\n")
		if !ok {
			t.Errorf("%s has no target %s", s.Build.Dockerfile, s.Build.Target)
			continue
		}
		stage, _, _ = strings.Cut(stage, "\nFROM ")
		port := regexp.MustCompile(`EXPOSE (\d+)`).FindStringSubmatch(stage)
		for _, p := range programs {
			if p.name == s.Build.Target {
				for _, v := range variables(t, p.config) {
					if v[0] == "FRESHET_LISTEN" && (port == nil || ":"+port[1] != v[1]) {
						t.Errorf("target %s exposes %v, and listens on %s", p.name, port, v[1])
					}
				}
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^COPY ([^-\n].*) \S+$`).FindAllStringSubmatch(string(text), -1) {
			for source := range strings.FieldsSeq(m[1]) {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil {
					t.Errorf("%s copies %s: %v", s.Build.Dockerfile, source, err)
				}
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^ +\./([\w/-]+)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, "services", m[1], "main.go")); err != nil {
				t.Errorf("%s builds ./%s: %v", s.Build.Dockerfile, m[1], err)
			}
		}
	}
}
