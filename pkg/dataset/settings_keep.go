package dataset

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Retention says which earlier versions of a dataset keep their objects: the newest ones, and those that were superseded recently. The zero
// Retention keeps all.
type Retention struct {
	// Versions is how many of the newest versions are kept. 0 is not set: then all are kept, or the newest one if For is set.
	Versions uint64 `json:"keep_versions,omitempty"`
	// For is how long a version is kept after the next one came, as text such as "30d" or "12h"; empty is not set.
	For string `json:"keep_for,omitempty"`
}

// DefaultRetention is what the settings of a dataset get at its first publish.
var DefaultRetention = Retention{Versions: 10, For: "30d"}

// keepSettings are the settings of the group [Retention].
var keepSettings = []Setting{
	{
		"keep_versions", "all", "how many of the newest versions keep their objects, 1 if only keep_for is set; new datasets get " + strconv.FormatUint(DefaultRetention.Versions, 10),
		"a whole number, 1 or more", func(value json.RawMessage) bool { return string(value) != "0" && whole(63)(value) },
	},
	{
		"keep_for", "always", "how long a version keeps its objects after the next one came, not at all if only keep_versions is set; new datasets get " + DefaultRetention.For,
		`a time such as "30d", "12h", "90m" or "45s", at most 36500d`, func(value json.RawMessage) bool {
			var text string
			if json.Unmarshal(value, &text) != nil {
				return false
			}
			_, err := parseAge(text)
			return err == nil
		},
	},
}

// AfterDelete returns the retention of a dataset that is deleted: time alone decides, because no further version may come that ends the
// reach of Versions. Without For it is that of [DefaultRetention]. Nothing changes if r is not set.
func (r Retention) AfterDelete() Retention {
	if !r.IsSet() {
		return r
	}
	return Retention{Versions: 1, For: cmp.Or(r.For, DefaultRetention.For)}
}

// IsSet reports whether versions may lose their objects at all.
func (r Retention) IsSet() bool { return r != Retention{} }

// Newest returns how many of the newest versions are kept, at least one.
func (r Retention) Newest() uint64 { return max(1, r.Versions) }

// Age returns how long a version is kept after it was superseded. It fails for a text of a later release.
func (r Retention) Age() (time.Duration, error) {
	if r.For == "" {
		return 0, nil
	}
	return parseAge(r.For)
}

// String returns the retention as text.
func (r Retention) String() string {
	if !r.IsSet() {
		return "not set"
	}
	text := fmt.Sprintf("keep_versions=%d", r.Newest())
	if r.For != "" {
		text += " keep_for=" + r.For
	}
	return text
}

// Check returns an error that names the member if the retention is impossible.
func (r Retention) Check() error {
	if _, err := r.Age(); err != nil {
		return fmt.Errorf("keep_for is %.40q: %w", r.For, err)
	}
	return nil
}

var ageText = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})([dhms])$`)

// maxAge bounds a time, about a hundred years, so that no sum overflows.
const maxAge = 36500 * 24 * time.Hour

// parseAge parses a time of one unit: days of 24 hours, hours, minutes or seconds.
func parseAge(text string) (time.Duration, error) {
	m := ageText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%.40q is no time; want a whole number and one of d, h, m and s, such as 30d", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	unit := map[string]time.Duration{"d": 24 * time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second}[m[2]]
	if n > int64(maxAge/unit) {
		return 0, fmt.Errorf("%.40q is too long; the most is 36500d", text)
	}
	return time.Duration(n) * unit, nil
}
