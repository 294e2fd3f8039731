package mirror

import (
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// TestEqual changes one field after the other, those of the parts too, and expects each
// change to be noticed, except that of a line.
func TestEqual(t *testing.T) {
	full := func() Mirror {
		return Mirror{Source: Source{"docker.io"}, Targets: []Target{{
			scheme: "https", host: Host{"contoso.azurecr.io"}, Credentials: []string{"a"},
			Below: []PathCredential{{"p", []string{"b"}}}, lines: map[string]int{"ca": 1},
			Settings: Settings{CA: []string{"/ca"}, Client: [][2]string{{"c", "k"}}, Capabilities: []string{"pull"}, Header: []Header{{Name: "X", Values: []string{"v"}}}},
		}}}
	}
	var lines = []string{"Line", "lines"}
	changes := 0
	var each func(path string, at func(m *Mirror) reflect.Value)
	each = func(path string, at func(m *Mirror) reflect.Value) {
		m := full()
		v := at(&m)
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				each(path+"."+name, func(m *Mirror) reflect.Value { return open(at(m).Field(i)) })
			}
			return
		case reflect.Slice, reflect.Array:
			if v.Len() == 0 {
				t.Fatalf("%s is empty in this test", path)
			}
			each(path+"[0]", func(m *Mirror) reflect.Value { return at(m).Index(0) })
			if v.Kind() == reflect.Array {
				return
			}
			v.Set(v.Slice(0, 0))
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(time.Second))
		case reflect.Map:
			v.SetZero()
		default:
			t.Fatalf("%s is a %s", path, v.Kind())
		}
		changes++
		isLine := slices.ContainsFunc(lines, func(name string) bool { return path == "."+name || path == ".Targets[0]."+name })
		if m.Equal(full()) != isLine || full().Equal(m) != isLine {
			t.Errorf("after a change of %s it is equal: %v; want %v", path, !isLine, isLine)
		}
	}
	each("", func(m *Mirror) reflect.Value { return reflect.ValueOf(m).Elem() })
	if !full().Equal(full()) || changes < 25 {
		t.Errorf("equal to itself: %v; %d changes were tried, want 25 or more", full().Equal(full()), changes)
	}
}

// open returns a field that can be set, even if it is not exported.
func open(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}
