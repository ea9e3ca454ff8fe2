package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	pkg      = "freshet.dev/pkg/"
	services = "freshet.dev/services/"
)

// modules are the folders, from the repository's root, of the modules that make the product.
var modules = []string{"pkg", "services", "services/e2e", "scripts/benchmarks"}

type goPackage struct {
	ImportPath, Name, Doc, Dir string
	Standard                   bool
	Imports                    []string // of the package itself
	Deps                       []string // of the package itself, transitively
}

func list(t *testing.T) []goPackage {
	t.Helper()
	var all []goPackage
	for _, m := range modules {
		cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Dir,Imports,Deps", "./...")
		cmd.Dir = path.Join(root(t), m)
		cmd.Env = append(os.Environ(), "GOWORK=") // the workspace, in which this module is not
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				t.Fatalf("go list in %s: %s", m, exit.Stderr)
			}
			t.Fatalf("go list in %s: %v", m, err)
		}
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p goPackage
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
	}
	return all
}

// Backends that a package may be alone in knowing.
const (
	nats  = "github.com/nats-io/nats.go"
	redis = "github.com/redis/go-redis/v9"
	s3    = "github.com/minio/minio-go/v7"
	http  = "net/http"

	parquet = "github.com/parquet-go/parquet-go" // in programs that publish only
	cel     = "github.com/google/cel-go"         // in programs that scan only
)

// forbidden maps a package (with all below it) to what nothing that it is made of may import.
var forbidden = map[string][]string{
	pkg + "dataset":  {nats, redis, s3, http},
	pkg + "snapshot": {nats, redis, s3, http},
	pkg + "table":    {nats, redis, s3, http, cel},
	pkg + "scan":     {nats, redis, s3, http},
	pkg + "store":    {nats, redis},
	// A program that uses one implementation of the store does not link the other: see package storeurl.
	pkg + "store/dir":       {s3, pkg + "store/s3"},
	pkg + "store/s3":        {pkg + "store/dir"},
	pkg + "store/internal":  {s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "store/storetest": {s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "publish":         {s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "history":         {nats, redis, s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "subscribe":       {s3, pkg + "store/dir", pkg + "store/s3", parquet, cel},
	pkg + "journal":         {nats, redis, s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "timeline":        {nats, redis, s3, pkg + "store/dir", pkg + "store/s3"},
	pkg + "nearest":         {nats, redis, s3, http},

	pkg + "catalog": {nats, s3},
	pkg + "events":  {redis, s3},
	pkg + "fleet":   {redis, s3},
	pkg + "pull":    {nats, redis, s3, parquet},
	pkg + "relays":  {nats, redis, s3, http},
}

func TestPackagesKnowTheirBackendOnly(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		for owner, deps := range forbidden {
			if p.ImportPath != owner && !strings.HasPrefix(p.ImportPath, owner+"/") {
				continue
			}
			seen[owner] = true
			for _, d := range deps {
				if i := slices.IndexFunc(p.Deps, func(have string) bool { return have == d || strings.HasPrefix(have, d+"/") }); i >= 0 {
					if d == http && !direct(p, d) {
						continue // the CloudEvents library names net/http in its types; nothing of ours calls it
					}
					t.Errorf("%s depends on %s: DESIGN, who may import whom", p.ImportPath, p.Deps[i])
				}
			}
		}
	}
	for owner := range forbidden {
		if !seen[owner] {
			t.Errorf("there is no package %s: correct this table", owner)
		}
	}
}

// importers maps a package to the packages that may import it.
var importers = map[string][]string{
	s3:                     {pkg + "store/s3", pkg + "servertest"},
	pkg + "store/dir":      {pkg + "store/storeurl"},
	pkg + "store/s3":       {pkg + "store/storeurl", services + "freshet/internal/cli"}, // which reads inputs from S3
	pkg + "store/storeurl": {services, "freshet.dev/scripts/benchmarks/"},
}

func TestImporters(t *testing.T) {
	for _, p := range list(t) {
		for imported, allowed := range importers {
			if direct(p, imported) && !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(p.ImportPath, prefix) }) {
				t.Errorf("%s imports %s: only %s may", p.ImportPath, imported, strings.Join(allowed, ", "))
			}
		}
	}
}

func direct(p goPackage, dep string) bool { return slices.Contains(p.Imports, dep) }

func TestImportDirections(t *testing.T) {
	for _, p := range list(t) {
		for _, i := range p.Imports {
			switch {
			case strings.HasPrefix(p.ImportPath, pkg) && strings.HasPrefix(i, services):
				t.Errorf("%s imports %s: the libraries know no program", p.ImportPath, i)
			case strings.HasPrefix(i, services) && strings.HasPrefix(p.ImportPath, services):
				from, to := program(p.ImportPath), program(i)
				if from != to && from != "freshet" && from != "e2e" && to != "internal" {
					t.Errorf("%s imports %s: programs do not import each other, except services/freshet", p.ImportPath, i)
				}
			}
			if strings.HasSuffix(i, "/servertest") && !strings.Contains(p.ImportPath, "test") && !strings.Contains(p.ImportPath, "e2e") && !strings.Contains(p.ImportPath, "bench") {
				t.Errorf("%s imports %s outside a test", p.ImportPath, i)
			}
		}
	}
}

// program returns the folder below services that the package lies in.
func program(importPath string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(importPath, services), "/")
	return name
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc"}, p.Name) {
			t.Errorf("%s is named for nothing", p.ImportPath)
		}
	}
}
