package layout

import "testing"

func TestRecordFileNames(t *testing.T) {
	for _, version := range []uint64{1, 9, 10, 1 << 32, MaxVersion} {
		if got, ok := ParseRecordFile(RecordFile(version)); !ok || got != version {
			t.Errorf("version %d is in %s, which is of %d", version, RecordFile(version), got)
		}
	}
	for _, file := range []string{
		"", ".json", "1.json", "00000000000000000000.json", "0000000000000000001.json", "000000000000000000001.json",
		"00000000000000000001.JSON", " 0000000000000000001.json", "+0000000000000000001.json", "-0000000000000000001.json",
		"0x000000000000000001.json", "000_0000000000000001.json", RecordFile(MaxVersion + 1), RecordFile(1<<64 - 1),
	} {
		if version, ok := ParseRecordFile(file); ok {
			t.Errorf("%q is parsed as the record of version %d", file, version)
		}
	}
}
