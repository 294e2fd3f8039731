package rpc

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// A Value is what a field of an encoded message has: a number, or bytes.
type Value struct {
	Number uint64
	bytes  []byte // nil for a number
}

// Each calls f for each field of an encoded message, in order. A field that f does not
// know is from a newer version. The error is an [*Error], or f's.
func Each(message []byte, f func(number int, v Value) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return malformed(protowire.ParseError(n))
		}
		message = message[n:]
		var v Value
		switch kind {
		case protowire.VarintType:
			v.Number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return malformed(protowire.ParseError(n))
		}
		message = message[n:]
		if err := f(int(number), v); err != nil {
			return err
		}
	}
	return nil
}

func malformed(err error) error {
	return fault(codes.Internal, "failed to unmarshal the received message: %v", err)
}

// Each is [Each] for a message in a field.
func (v Value) Each(f func(number int, v Value) error) error { return Each(v.bytes, f) }

// Text sets a string to the field's.
func (v Value) Text(to *string) error {
	if v.bytes == nil {
		return nil
	}
	if !utf8.Valid(v.bytes) {
		return malformed(errors.New("a string is not UTF-8"))
	}
	*to = string(v.bytes)
	return nil
}

// Pair adds the field's key and value to a map.
func (v Value) Pair(to map[string]string) error {
	if v.bytes == nil {
		return nil
	}
	var key, value string
	err := v.Each(func(number int, v Value) error {
		switch number {
		case 1:
			return v.Text(&key)
		case 2:
			return v.Text(&value)
		}
		return nil
	})
	to[key] = value
	return err
}

// Texts returns the strings at a path of field numbers: those in the last field of each
// message that the fields before it lead to.
func Texts(message []byte, path ...int) (list []string, err error) {
	err = Each(message, func(number int, v Value) error {
		if number != path[0] {
			return nil
		}
		if len(path) > 1 {
			inner, err := Texts(v.bytes, path[1:]...)
			list = append(list, inner...)
			return err
		}
		var text string
		err := v.Text(&text)
		list = append(list, text)
		return err
	})
	return list, err
}

// Text returns an encoded field with a string.
func Text(number int, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, protowire.Number(number), protowire.BytesType), text)
}

// Message returns an encoded field with a message of these fields.
func Message(number int, fields ...[]byte) []byte {
	data := protowire.AppendTag(nil, protowire.Number(number), protowire.BytesType)
	var inner []byte
	for _, f := range fields {
		inner = append(inner, f...)
	}
	return protowire.AppendBytes(data, inner)
}

// True returns an encoded field that is set.
func True(number int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(number), protowire.VarintType), 1)
}
