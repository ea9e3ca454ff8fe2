package rows

import "encoding/json"

// JSON returns rows 0 to count-1, one after the other, [ValueBytes] each.
func JSON(count int) []byte {
	data := make([]byte, 0, count*ValueBytes)
	for i := range count {
		data = AppendValue(data, i)
	}
	return data
}

// Decode decodes the output of [JSON] into a map by key, with json.Unmarshal of each row.
func Decode(data []byte) (map[string]Row, error) {
	m := make(map[string]Row)
	for ; len(data) > 0; data = data[ValueBytes:] {
		var r Row
		if err := json.Unmarshal(data[:ValueBytes], &r); err != nil {
			return nil, err
		}
		m[r.Key] = r
	}
	return m, nil
}

// DecodeKeys decodes only the key of each row and maps it to the row's bytes, as a table does.
func DecodeKeys(data []byte) (map[string][]byte, error) {
	m := make(map[string][]byte)
	for ; len(data) > 0; data = data[ValueBytes:] {
		var r struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(data[:ValueBytes], &r); err != nil {
			return nil, err
		}
		m[r.Key] = data[:ValueBytes:ValueBytes]
	}
	return m, nil
}
