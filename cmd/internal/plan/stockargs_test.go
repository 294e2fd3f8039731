package plan

import (
	"reflect"
	"slices"
	"testing"
)

func TestStockArgs(t *testing.T) {
	tests := []struct {
		args    []string
		azure   string
		mirrors map[string]string
		with    []string // a.io:b.io
		without []string
	}{
		{nil, "", nil, []string{"--registry-mirror=a.io:b.io"}, nil},
		{[]string{"/a", "--ib-sni-name", "x", "--registry-mirror=c.io:d.io, e.io:f.io", "-v", "4"}, "/a", map[string]string{"c.io": "d.io", "e.io": "f.io"}, []string{"/a", "--ib-sni-name", "x", "--registry-mirror=a.io:b.io", "-v", "4"}, []string{"/a", "--ib-sni-name", "x", "-v", "4"}},
		{[]string{"--registry-mirror", "c.io:d.io", "--v=2", "/a"}, "/a", map[string]string{"c.io": "d.io"}, []string{"--registry-mirror=a.io:b.io", "--v=2", "/a"}, []string{"--v=2", "/a"}},
		{[]string{"-r", "c.io:d.io", "/a", "-rg.io:h.io"}, "/a", map[string]string{"g.io": "h.io"}, []string{"--registry-mirror=a.io:b.io", "/a"}, []string{"/a"}},
		{[]string{"/a", "-r=c.io:d.io,c.io:5000:d.io,x,e.io:"}, "/a", map[string]string{"c.io": "d.io", "e.io": ""}, []string{"/a", "--registry-mirror=a.io:b.io"}, []string{"/a"}},
		{[]string{"--version", "/a"}, "/a", nil, []string{"--version", "/a", "--registry-mirror=a.io:b.io"}, []string{"--version", "/a"}},
	}
	for _, test := range tests {
		got := readStockArgs(test.args)
		if mirrors := got.mirrors(); got.azure != test.azure || len(mirrors)+len(test.mirrors) > 0 && !reflect.DeepEqual(mirrors, test.mirrors) {
			t.Errorf("readStockArgs(%q) = %q, %v; want %q, %v", test.args, got.azure, mirrors, test.azure, test.mirrors)
		}
		if with := withMirrorArg(test.args, "a.io:b.io"); !slices.Equal(with, test.with) {
			t.Errorf("withMirrorArg(%q, a.io:b.io) = %q; want %q", test.args, with, test.with)
		}
		if without := withMirrorArg(test.args, ""); !slices.Equal(without, test.without) {
			t.Errorf("withMirrorArg(%q, \"\") = %q; want %q", test.args, without, test.without)
		}
	}
}
