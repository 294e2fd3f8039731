//go:build linux

package armed

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReadStat(t *testing.T) {
	dir := t.TempDir()
	for stat, want := range map[string]time.Duration{
		"7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9": 12345 * Tick,
		"7 (a) b (c) S 1 7 7 0 -1 1 1 2 3 4 5 6 7 8 20 0 1 0 17 9 9":    17 * Tick,
		"7 (a) S 1 7": 0,
		"":            0,
	} {
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ReadStat(dir); got != want || (err == nil) != (want > 0) {
			t.Errorf("ReadStat(%q) = %v, %v; want %v", stat, got, err, want)
		}
	}
}
