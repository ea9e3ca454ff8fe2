package demo

import (
	"slices"
	"testing"
)

func TestDifferences(t *testing.T) {
	before := `{"key":"k","status":"standard","support":{"safari":"preview","safari_ios":"no","chrome":"133"},"n":1}`
	after := `{"key":"k","status":"standard","support":{"safari":"27.3","chrome":"133","webview":"133"},"n":[1,2]}`
	got, err := differences([]byte(before), []byte(after))
	if err != nil {
		t.Fatal(err)
	}
	want := []difference{
		{"n", "1", "[1,2]"},
		{"support.safari", `"preview"`, `"27.3"`},
		{"support.safari_ios", `"no"`, absent},
		{"support.webview", absent, `"133"`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if same, err := differences([]byte(before), []byte(before)); err != nil || len(same) > 0 {
		t.Errorf("a value differs from itself: %v, %v", same, err)
	}
	if _, err := differences([]byte(before), []byte("{")); err == nil {
		t.Error("broken JSON was taken")
	}
}

func TestReleasesInOrder(t *testing.T) {
	all, err := releases()
	if err != nil {
		t.Fatal(err)
	}
	want := []release{"8.1.1", "8.1.2", "8.1.3", "8.1.4", "8.1.5", "8.1.6", "8.1.7", "8.1.9"}
	if !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	if slices.Compare(release("8.1.10").numbers(), release("8.1.9").numbers()) <= 0 {
		t.Error("8.1.10 comes before 8.1.9")
	}
}
