package release

import "testing"

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"2.2": "2.2", "v2.4.2": "2.4.2", "1.7.35-1~deb12u1": "1.7.35", "2.3.0-rc.1": "2.3.0", "2.2-k8s": "2.2",
		"2.2.9+unknown": "2.2.9", "v1.7": "1.7", "10.0.1": "10.0.1",
	} {
		if got, err := Parse(in); err != nil || got.Release() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", in, got.Release(), err, want)
		}
	}
	for _, in := range []string{"", "2", "two", "1.6.39", "0.9", "2.", ".2", "-1.2", "1.6.39+unknown"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %q; want an error", in, got.Release())
		}
	}
}

func TestBefore(t *testing.T) {
	newest, _ := Parse("2.2")
	first, _ := Parse("2.2.0")
	if first.Before(2, 2, 0) || !first.Before(2, 2, 1) || newest.Before(2, 2, 99) || !newest.Before(2, 3, 0) {
		t.Errorf("2.2 is older than 2.2.99, or 2.2.0 is not older than 2.2.1")
	}
	if first.OlderLine(newest) || newest.OlderLine(first) || !first.OlderLine(Line(2, 3)) || (Version{}).OlderLine(newest) {
		t.Error("OlderLine compares more than lines")
	}
}
