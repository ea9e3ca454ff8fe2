package records

import "testing"

func TestPagesOfVersions(t *testing.T) {
	for _, c := range []struct {
		newest, before uint64
		limit          int
		from           uint64
		n              int
	}{
		{0, 0, 5, 0, 0}, {0, 9, 0, 0, 0}, {9, 0, 5, 9, 5}, {9, 0, 50, 9, 9}, {9, 0, 0, 9, 9}, {9, 1, 5, 0, 0}, {9, 4, 5, 3, 3}, {9, 4, 2, 3, 2}, {9, 99, 2, 9, 2},
	} {
		if from, n := Page(c.newest, c.before, c.limit); from != c.from || n != c.n {
			t.Errorf("Page(%d, %d, %d): %d from %d, want %d from %d", c.newest, c.before, c.limit, n, from, c.n, c.from)
		}
	}
}
