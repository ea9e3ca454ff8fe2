package publish_test

import (
	"fmt"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
)

// A rollback that no delta leads back to, such as that of a deleted dataset, has all records of its version checked. They are on no line.
func TestSchemaGateOfARollbackAfterADelete(t *testing.T) {
	gates := dataset.Gates{}
	r := gated(t, &gates)
	m := numbered(300)
	m["7"] = `{"id":"7","v":7}`
	m.publish(t, r)
	if _, err := r.Delete(t.Context(), publish.DeleteInput{Dataset: "prices", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	gates = schemaOf(withV)
	_, err := r.Rollback(t.Context(), back(1))
	gateError(t, err, 2, []string{"schema"}, fmt.Sprintf("1 of %d records do not meet the schema: key %q: /v: got number", 300, "7"))
	noTemp(t, r.temp)
}
