package e2e

import (
	"strings"
	"testing"
)

// Invariant: a delete is refused while instances of a release serve the dataset, and they keep their data. After the upgrade they
// keep it too, say deleted, and follow a later publish.
func TestDeleteBesideInstancesOfARelease(t *testing.T) {
	for _, name := range []string{"v0.1", "v0.2", "v0.3"} { // later ones know deleted versions
		t.Run(name, func(t *testing.T) { deleteBesideInstancesOfARelease(t, name) })
	}
}

func deleteBesideInstancesOfARelease(t *testing.T, name string) {
	m := newMixed(t, name)
	m.publisher(bin)
	m.relay(bin)
	m.instance(0, bin)
	m.served("one instance is of the release")
	_, err := m.freshet(t.Context(), "delete", m.name, "--reason", "it was mistyped", "--yes")
	if err == nil || !strings.Contains(err.Error(), "would empty their tables of dataset prices: instance-2; nothing was published; upgrade them first") {
		t.Fatalf("a delete: %v", err)
	}
	m.patch(8)
	m.served("the delete is refused, and a patch follows")

	m.instance(1, bin)
	m.served("all programs are of today")
	if out, err := m.freshet(t.Context(), "delete", m.name, "--reason", "it was mistyped", "--yes", "--wait"); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	for _, instance := range m.Instances {
		m.awaitDataset("deleted", instance, func(d served) bool { return d.State == "deleted" && d.Version == m.newest()+1 })
		m.check(instance, m.newest())
	}
	if out, err := m.freshet(t.Context(), "rollback", m.name, "--to", "1", "--reason", "it was not", "--wait"); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	m.history = append(m.history, m.history[m.newest()-1], m.history[0])
	m.served("rolled back")
	m.full()
	m.served("all records follow")
}
