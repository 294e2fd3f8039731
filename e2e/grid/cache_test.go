package grid

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A node with a cache of its own first, an authenticated mirror second and the source
// last, as docs/node-local-caches.md has it. Each is asked for what those before it do
// not have, whatever is wrong with those; and the mirror's secret is shown to the mirror
// alone. A cache sees a pod's secret only if it asks for a login.
func TestNodeLocalCache(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		for _, c := range clients {
			for _, cache := range []State{Up, Ended, S404, S500, Down} {
				for _, state := range []State{Up, Ended, S403, Down} {
					for _, login := range []Login{NoLogin, PodLogin} {
						for _, behind := range []Behind{Public, Private, Hub} {
							p.playCache(t, Case{c, Basic, state, login, behind}, cache)
						}
					}
				}
			}
		}
	})
}

// playCache plays a case with a cache before the mirror; one that has Ended asks for a
// login.
func (p *player) playCache(t *testing.T, c Case, cache State) {
	t.Helper()
	host := p.world.host(Cache)
	if cache == Down {
		host = names[Cache] + ":" + p.world.closed
	}
	text := strings.Replace(p.mapOf(c), "targets = [", fmt.Sprintf("targets = [%q, ", "http://"+host), 1)
	if !strings.HasPrefix(p.version, "2.0.") { // which would try https first with it
		text += fmt.Sprintf("[registry.%q]\ndial_timeout = \"200ms\"\n[containerd]\nversion = %q\n", host, p.version)
	}
	if err := p.writeMap(text, map[string]string{names[Mirror]: c.Kind.header()}); err != nil {
		t.Fatal(err)
	}
	want := expect(c)
	play := p.world.parties(c)
	switch cache {
	case Up:
		want = Outcome{Cache, Seen{}}
		play[Cache] = func(rw http.ResponseWriter, r *http.Request) { p.world.give(Cache, rw, r) }
	case Ended:
		if c.Login == PodLogin {
			want.Seen.add(Cache, Pod)
		}
		play[Cache] = func(rw http.ResponseWriter, _ *http.Request) { challenge(rw, `Basic realm="the cache"`) }
	case S500:
		play[Cache] = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) }
	}
	check(t, fmt.Sprintf("the cache is %s; %s", cache, c), p, c.Client, c.Login, play, want)
}
