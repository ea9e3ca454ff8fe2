package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"text/tabwriter"
	"time"
)

// row has the measured costs of a fault.
type row struct {
	Fault string
	Heal  time.Duration // from the end of the fault until every instance serves the newest version and says fresh
	Seen  string        // the states
}

// faultTable has a row for each injected fault.
type faultTable struct {
	mu   sync.Mutex
	rows []row // guarded by mu
}

var table faultTable

func (f *faultTable) add(r row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, r)
}

// namespaceMark is the environment variable with the path for the table's rows of a test that runs again in its own namespaces.
const namespaceMark = "FRESHET_TEST_NAMESPACE"

// read adds the rows that such a test wrote.
func (f *faultTable) read(path string) error {
	var rows []row
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &rows)
	}
	if err != nil {
		return fmt.Errorf("read what a fault cost: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, rows...)
	return nil
}

// print writes the table to standard output and to the file in FAULTS_REPORT, if it has rows.
func (f *faultTable) print() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return nil
	}
	if path := os.Getenv(namespaceMark); path != "" { // whoever started this run prints it
		text, err := json.Marshal(f.rows)
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o600)
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "FAULT\tTIME TO HEAL\tSTATES SEEN, AND THE LONGEST THAT AN INSTANCE WAS IN EACH")
	for _, r := range f.rows {
		fmt.Fprintf(w, "%s\t%.2f s\t%s\n", r.Fault, r.Heal.Seconds(), r.Seen)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", b.Bytes())
	if path := os.Getenv("FAULTS_REPORT"); path != "" {
		return os.WriteFile(path, b.Bytes(), 0o644)
	}
	return nil
}
