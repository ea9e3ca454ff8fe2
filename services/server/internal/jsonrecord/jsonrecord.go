// Package jsonrecord writes keys and values of records, which may be any bytes, as members of JSON objects.
package jsonrecord

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendKey appends the member of a key to dst: "key" with a string, or "key_base64" if the key is not UTF-8.
func AppendKey(dst, key []byte) []byte {
	if quoted, err := jsontext.AppendQuote(append(dst, `"key":`...), key); err == nil {
		return quoted
	}
	return appendBase64(append(dst, `"key_base64":`...), key)
}

// AppendValue appends the member of a value to dst. A value that is JSON in UTF-8, as all values published as text are, is copied byte for
// byte to "value"; any other value comes as "value_base64".
func AppendValue(dst, value []byte) []byte {
	if json.Valid(value) && utf8.Valid(value) {
		return append(append(dst, `"value":`...), value...)
	}
	return appendBase64(append(dst, `"value_base64":`...), value)
}

func appendBase64(dst, b []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}
