package member_test

import (
	"slices"
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

func TestInnerValues(t *testing.T) {
	value := []byte(`{"a.b\\":{"x":1, "y\"":[true, {"z":2}], "x":3}, "n":null}`)
	paths, err := member.Parse(member.Name(`a.b\`))
	if err != nil {
		t.Fatal(err)
	}
	inner := paths.Read(value, nil)[0]
	var got []string
	for name, v := range inner.Members() {
		got = append(got, name+"="+v.Raw())
		for e := range v.Elements() {
			got = append(got, e.Raw())
		}
	}
	if want := []string{"x=1", `y"=[true, {"z":2}]`, "true", `{"z":2}`, "x=3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	x, err := member.Parse("x")
	if err != nil {
		t.Fatal(err)
	}
	if v := x.Read(inner.Bytes(), nil)[0]; v.Raw() != "1" {
		t.Errorf("of a name that comes twice: %s", v.Raw())
	}
	count := 0
	for range member.Whole(value).Members() {
		count++
	}
	for range member.Whole([]byte("[1]")).Members() {
		count++
	}
	for range inner.Elements() {
		count++
	}
	if count != 2 {
		t.Errorf("%d members", count)
	}
}
