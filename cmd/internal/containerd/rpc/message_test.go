package rpc

import (
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestEncode has protobuf read what this package writes.
func TestEncode(t *testing.T) {
	for _, text := range []string{"", "a", "ä\x00", string(make([]byte, 300))} {
		data := slices.Concat(Message(1, Text(1, text)), Message(2, Text(1, "u"), Text(2, text)))
		var pull cri.PullImageRequest
		if err := proto.Unmarshal(data, &pull); err != nil || pull.Image.Image != text || pull.Auth.Username != "u" || pull.Auth.Password != text {
			t.Errorf("%q: protobuf reads %v, %v", text, &pull, err)
		}
	}
	var status cri.StatusRequest
	if err := proto.Unmarshal(True(1), &status); err != nil || !status.Verbose {
		t.Errorf("protobuf reads %v, %v", &status, err)
	}
}

// FuzzEach holds that a message is read as protobuf reads it, and refused if protobuf
// refuses it.
func FuzzEach(f *testing.F) {
	for _, m := range []proto.Message{
		&cri.StatusResponse{Info: map[string]string{"config": "{}", "": "x"}},
		&cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{{Type: "a", Status: true}}}, Info: map[string]string{"a": ""}},
		&cri.ImageStatusResponse{Image: &cri.Image{Id: "i", Size: 1 << 63, Pinned: true, RepoTags: []string{"a", "b"}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	f.Add([]byte("\x12\x02\x0a\x00\x12\x03\x0a\x01\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string]string{}
		err := Each(data, func(number int, v Value) error {
			if number == 2 {
				return v.Pair(got)
			}
			return nil
		})
		var want cri.StatusResponse
		if proto.Unmarshal(data, &want) != nil {
			return // protobuf reads fields that this package skips
		}
		if err != nil || !maps.Equal(got, want.Info) {
			t.Errorf("%q: %v, %v; protobuf reads %v", data, got, err, want.Info)
		}
	})
}

// TestTexts reads the strings at a path, and passes over what is besides it.
func TestTexts(t *testing.T) {
	answer := &cri.ListContainersResponse{Containers: []*cri.Container{
		{Id: "a", Image: &cri.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "quay.io/a:1", Annotations: map[string]string{"x": "y"}}},
		{Id: "b", CreatedAt: 1 << 62, Image: &cri.ImageSpec{Image: "sha256:2"}},
		{Id: "c", Image: &cri.ImageSpec{UserSpecifiedImage: "quay.io/c:1"}, Labels: map[string]string{"k": "v"}},
	}}
	data, err := proto.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path []int
		want []string
	}{
		{[]int{1, 1}, []string{"a", "b", "c"}},
		{[]int{1, 4, 18}, []string{"quay.io/a:1", "quay.io/c:1"}},
		{[]int{9}, nil},
	} {
		if got, err := Texts(data, test.path...); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("Texts at %v = %q, %v; want %q", test.path, got, err, test.want)
		}
	}
	// Cut off anywhere, it is an error or a shorter list, never more.
	for i := range data {
		if got, err := Texts(data[:i], 1, 1); err == nil && len(got) > 2 {
			t.Errorf("of %d bytes: %q", i, got)
		}
	}
}
