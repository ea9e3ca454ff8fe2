// Command vetplatforms does what go vet does with GOOS, GOARCH and CGO_ENABLED=0 for the modules of this repository. It type-checks
// all packages from their source and compiles nothing. go vet compiles each dependency, with the standard library, for each platform,
// which takes minutes if the build cache is empty.
//
//	vetplatforms PLATFORM... -- MODULE...
//
// A PLATFORM is GOOS/GOARCH, a MODULE the folder of a go.mod; go.work is not used. The exit code is 0 if nothing was found, 1 if
// something was, and 2 for wrong arguments.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/analysis/suite/vet"
	"golang.org/x/tools/go/packages"
)

func main() {
	args := os.Args[1:]
	end := slices.Index(args, "--")
	if end < 1 || end == len(args)-1 {
		fmt.Fprintln(os.Stderr, "usage: vetplatforms PLATFORM... -- MODULE...")
		os.Exit(2)
	}
	found := false
	for _, platform := range args[:end] {
		began := time.Now()
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok {
			fmt.Fprintf(os.Stderr, "vetplatforms: %q is no GOOS/GOARCH, as linux/arm64 is\n", platform)
			os.Exit(2)
		}
		for _, module := range args[end+1:] {
			problems, err := check(goos, goarch, module)
			if err != nil {
				problems = append(problems, err.Error())
			}
			for _, p := range problems {
				fmt.Printf("%s %s: %s\n", platform, module, p)
			}
			found = found || len(problems) > 0
		}
		fmt.Printf("%s: vetted in %ds\n", platform, int(time.Since(began).Seconds()))
	}
	if found {
		os.Exit(1)
	}
}

// check vets the packages and tests of the module in the folder and returns what it finds, sorted, each once.
func check(goos, goarch, folder string) ([]string, error) {
	pkgs, err := packages.Load(&packages.Config{
		Mode:  packages.LoadAllSyntax | packages.NeedModule,
		Dir:   folder,
		Env:   append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch),
		Tests: true,
	}, "./...")
	if err != nil {
		return nil, err
	}
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("%s has no packages", folder)
	}
	var problems []string
	packages.Visit(pkgs, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			problems = append(problems, e.Error())
		}
	})
	if len(problems) == 0 { // analyzers expect packages without errors
		graph, err := checker.Analyze(vet.Suite, pkgs, nil)
		if err != nil {
			return nil, err
		}
		for _, action := range graph.Roots {
			if action.Err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", action, action.Err))
			}
			for _, d := range action.Diagnostics {
				problems = append(problems, fmt.Sprintf("%s: %s (%s)", action.Package.Fset.Position(d.Pos), d.Message, action.Analyzer))
			}
		}
	}
	slices.Sort(problems) // a test's package has the files of the package itself once more
	return slices.Compact(problems), nil
}
