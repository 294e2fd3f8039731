package azuretest

import "net/http"

// An Environment is what a resource manager returns for one cloud.
type Environment struct {
	Name     string
	Manager  string // URL of its resource manager
	SignIn   string // URL of its Entra ID
	Registry string // suffix of its registries
}

// AddResourceManager serves a resource manager as host, which knows the clouds
// in list. It is an error if the host is in use.
func (c *Cloud) AddResourceManager(host string, list ...Environment) (*Component, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metadata/endpoints", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("api-version") != "2019-05-01" {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "InvalidApiVersion"}})
			return
		}
		answer := []map[string]any{}
		for _, e := range list {
			answer = append(answer, map[string]any{
				"name":            e.Name,
				"resourceManager": e.Manager,
				"authentication":  map[string]any{"loginEndpoint": e.SignIn, "audiences": []string{e.Manager}, "tenant": "common", "identityProvider": "AAD"},
				"suffixes":        map[string]string{"acrLoginServer": e.Registry, "storage": "core.windows.net"},
			})
		}
		writeJSON(w, http.StatusOK, answer)
	})
	manager := c.component(mux)
	return manager, c.add(host, manager)
}
