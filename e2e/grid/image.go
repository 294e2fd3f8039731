package grid

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
)

// repository is the name of the one image that all registries have.
const repository = "team/app"

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// An object is a manifest or a blob.
type object struct {
	mediaType, digest string
	data              []byte
}

// objects are those of the image, by their path below /v2/REPOSITORY/.
var objects = func() map[string]object {
	layer := newObject("application/vnd.oci.image.layer.v1.tar", []byte("a layer"))
	config := newObject("application/vnd.oci.image.config.v1+json", []byte("{}"))
	describe := func(o object) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, o.mediaType, o.digest, len(o.data))
	}
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, manifestType, describe(config), describe(layer))
	if !json.Valid([]byte(text)) {
		panic(text)
	}
	manifest := newObject(manifestType, []byte(text))
	return map[string]object{
		"manifests/1":                  manifest,
		"manifests/" + manifest.digest: manifest,
		"blobs/" + config.digest:       config,
		"blobs/" + layer.digest:        layer,
	}
}()

func newObject(mediaType string, data []byte) object {
	return object{mediaType, fmt.Sprintf("sha256:%x", sha256.Sum256(data)), data}
}

// find returns the object that a path of the registry's API names.
func find(path string) (object, bool) {
	_, name, ok := strings.Cut(path, "/"+repository+"/")
	o, found := objects[name]
	return o, ok && found
}
