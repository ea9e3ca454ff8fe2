package jsonrecord_test

import (
	"testing"

	"freshet.dev/services/server/internal/jsonrecord"
)

func TestAppend(t *testing.T) {
	for key, want := range map[string]string{
		"a": `"key":"a"`, "a\"\n<": `"key":"a\"\n<"`, "é": `"key":"é"`, "\xff": `"key_base64":"/w=="`, "a\xff": `"key_base64":"Yf8="`,
	} {
		if got := string(jsonrecord.AppendKey([]byte("{"), []byte(key))); got != "{"+want {
			t.Errorf("the key %q is %s, want %s", key, got, want)
		}
	}
	for value, want := range map[string]string{
		`{ "n": 1 }`: `"value":{ "n": 1 }`, "null": `"value":null`, "": `"value_base64":""`, "\xff": `"value_base64":"/w=="`,
		"\"\xff\"": `"value_base64":"Iv8i"`, "{": `"value_base64":"ew=="`,
	} {
		if got := string(jsonrecord.AppendValue([]byte("{"), []byte(value))); got != "{"+want {
			t.Errorf("the value %q is %s, want %s", value, got, want)
		}
	}
}
