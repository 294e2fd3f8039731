package plan

import (
	"errors"
	"reflect"
	"testing"
	"unsafe"
)

// TestEmptyShare puts one thing after the other into an empty share.
func TestEmptyShare(t *testing.T) {
	if !(share{}).isEmpty() {
		t.Error("the zero share is not empty")
	}
	for i := range reflect.TypeFor[share]().NumField() {
		var s share
		field := reflect.ValueOf(&s).Elem().Field(i)
		field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
		switch field.Kind() {
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		case reflect.Bool:
			field.SetBool(true)
		default:
			field.Set(reflect.ValueOf(errors.New("a fault")))
		}
		if s.isEmpty() {
			t.Errorf("a share with %s is empty", reflect.TypeFor[share]().Field(i).Name)
		}
	}
}
