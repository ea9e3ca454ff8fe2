package member_test

import (
	"testing"

	"freshet.dev/pkg/member"
)

func TestRead(t *testing.T) {
	value := []byte(`{"name":"Żółw \"x\"","n":12345678901234567890,"ok":true,"none":null,"in":{"a.b":[1],"#":2},"*":3}`)
	paths, err := member.Parse("name", "n", "ok", "none", `in.a\.b`, "in.#", "*", "in", "x", "in.x", "name.x")
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		kind member.Kind
		text string
	}{
		{member.String, `Żółw "x"`},
		{member.Number, "12345678901234567890"},
		{member.Bool, "true"},
		{member.Null, "null"},
		{member.Array, "[1]"},
		{member.Number, "2"},
		{member.Number, "3"},
		{member.Object, `{"a.b":[1],"#":2}`},
		{},
		{},
		{},
	}
	for i, v := range paths.Read(value, nil) {
		if v.Kind() != want[i].kind || v.Text() != want[i].text {
			t.Errorf("%s: %d %q, want %d %q", paths.Names()[i], v.Kind(), v.Text(), want[i].kind, want[i].text)
		}
	}
	for _, other := range []string{"", "text", "[1]", `"{}"`} {
		if v := paths.Read([]byte(other), nil)[0]; v.Kind() != member.Missing {
			t.Errorf("%q has a member: %q", other, v.Raw())
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b"} {
		if _, err := member.Parse(bad); err == nil {
			t.Errorf("path %q is taken", bad)
		}
	}
}

func TestAll(t *testing.T) {
	for value, want := range map[string]string{
		`{"a":1,"b\"":"x","c":{"d":null}}`: `a=1 b"=x c={"d":null} `,
		`{}`:                               "",
		`[1,2]`:                            "",
		`{`:                                "",
		"":                                 "",
	} {
		got := ""
		for name, v := range member.All([]byte(value)) {
			got += name + "=" + v.Text() + " "
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
	for name := range member.All([]byte(`{"a":1,"b":2}`)) {
		if name != "a" {
			t.Error("the iteration does not stop")
		}
		break
	}
}
