package watch

import "testing"

// TestLeadsTo checks that links below another root are followed as on its
// machine, and this machine's own links as usual, also on the way to that root.
func TestLeadsTo(t *testing.T) {
	for _, c := range []struct{ root, dir, target, want string }{
		{"", "/etc", "/srv/x", "/srv/x"},
		{"", "/etc", "x", "/etc/x"},
		{"", "/etc", "../../../x", "/x"},
		{"/img", "/img/etc", "/srv/x", "/img/srv/x"},
		{"/img", "/img/etc", "x", "/img/etc/x"},
		{"/img", "/img/etc", "../../../x", "/img/x"},
		{"/img", "/img", "../x", "/img/x"},
		{"/img", "/img", "/img/x", "/img/img/x"},
		{"/img", "/images", "/srv/x", "/srv/x"},
		{"/img", "/", "img2", "/img2"},
	} {
		if got := leadsTo(c.root, c.dir, c.target); got != c.want {
			t.Errorf("leadsTo(%q, %q, %q) = %q; want %q", c.root, c.dir, c.target, got, c.want)
		}
	}
}
