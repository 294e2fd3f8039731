package dockerconfig

import (
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Lacks returns why the file has no credential for the query, and what to do;
// "" if it may have one. An entry that cannot be used does not count.
// query.Image may be a prefix of many images: an entry for some of them is
// enough. Lacks runs no helper.
func (s *Source) Lacks(query credential.Query) (what, repair string) {
	c := s.config
	if c.helper(query) != "" || c.store != "" {
		return "", ""
	}
	host, err := mirror.ParseHost(hub(query.Registry.String()))
	if err != nil {
		return "", ""
	}
	_, below, _ := strings.Cut(query.Image, "/")
	var empty entry
	var unusable string
	for _, e := range c.auths {
		repository := below
		if below == "" || strings.HasPrefix(e.prefix, below+"/") {
			repository = e.prefix
		}
		switch {
		case !e.names.Covers(host, query.Plain, repository):
		case e.auth.empty():
			if empty.key == "" {
				empty = e
			}
		default:
			_, err := e.auth.credential()
			if err == nil {
				return "", ""
			}
			if unusable == "" {
				unusable = fmt.Sprintf("entry %q under auths %v", e.key, err)
			}
		}
	}
	if unusable != "" {
		what, repair, _ = strings.Cut(unusable, "; ")
		return what, repair
	}
	return c.none(query.Registry, empty)
}

// Helper returns the name of the helper that [Source.Credential] would run; ""
// if it would run none.
func (s *Source) Helper(query credential.Query) string {
	if name := s.config.helper(query); name != "" {
		return name
	}
	if found, has := s.config.find(query); has && !found.auth.empty() {
		return ""
	}
	return s.config.store
}

// helper returns the helper that is the registry's own, or "".
func (c *config) helper(query credential.Query) string {
	host := hub(query.Registry.String())
	for _, host := range []string{host, withPort(host, query.Plain)} {
		if name := c.helpers[host]; name != "" {
			return name
		}
	}
	return ""
}

// Helpers returns the names of all helpers in the file.
func (s *Source) Helpers() []string {
	var names []string
	for _, name := range s.config.helpers {
		names = append(names, name)
	}
	if s.config.store != "" {
		names = append(names, s.config.store)
	}
	return names
}
