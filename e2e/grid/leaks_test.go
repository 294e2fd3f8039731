package grid

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// check plays and compares.
func check(t *testing.T, name string, p *player, c Client, login Login, play map[Party]http.HandlerFunc, want Outcome) {
	t.Helper()
	got, err := p.pull(c.Transfer, login, play)
	if err != nil {
		t.Errorf("%s: %s: %v", c, name, err)
	} else if got.String() != want.String() {
		t.Errorf("%s: %s:\n%s; want\n%s", c, name, got, want)
	}
}

// A header in the root table goes to the source if there is no server, and from 2.1 on
// to the source's realm. mirrorcred never writes that; check warns of it.
func TestRootHeader(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		text := fmt.Sprintf("header = { Authorization = %q }\n[host]\n", basic(Header))
		if err := p.write(hosts.Candidates(p.world.host(Source))[0], []byte(text)); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			play := map[Party]http.HandlerFunc{Source: p.world.source(Public)}
			check(t, "public source", p, c, NoLogin, play, Outcome{Source, Seen{Source: {Header}}})

			play = map[Party]http.HandlerFunc{Source: p.world.source(Hub), HubAuth: p.world.hubToken}
			want := Outcome{Source, Seen{Source: {Header}}}
			if headerAtRealm(c.Version) {
				// The realm does not know it, and gives no token at all.
				want = Outcome{"", Seen{Source: {Header}, HubAuth: {Header}}}
			}
			check(t, "source like Docker Hub", p, c, NoLogin, play, want)
		}
	})
}

// Beside a server, which is how mirrorcred writes the last target, the header in the
// root table is the server's, and the source is not asked.
func TestServerHeader(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		for _, source := range []string{p.world.host(Source), "*"} {
			text := fmt.Sprintf("version = 1\n[[mirror]]\nsource = %q\ntargets = [%q]\n[registry.%[2]q]\n%s", source, p.world.host(Mirror), delivered)
			if err := p.writeMap(text, map[string]string{names[Mirror]: basic(Header)}); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients {
				for _, state := range States[:len(States)-1] {
					one := Case{c, Basic, state, NoLogin, Nothing}
					play := p.world.parties(one)
					play[Source] = p.world.source(Public)
					check(t, source+" "+string(state), p, c, NoLogin, play, expect(one))
				}
			}
		}
	})
}

// Two mirrors with a header each see their own.
func TestTwoMirrors(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		text := fmt.Sprintf(`version = 1
[[mirror]]
source = %q
targets = [%q, %q, %[1]q]
[registry.%[2]q]
%[4]s
[registry.%[3]q]
%[4]s`, p.world.host(Source), p.world.host(Mirror), p.world.host(Second), delivered)
		if err := p.writeMap(text, map[string]string{names[Mirror]: basic(Header), names[Second]: basic(OtherOne)}); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			for _, state := range States[:len(States)-1] {
				one := Case{c, Basic, state, PodLogin, Public}
				play := p.world.parties(one)
				play[Second] = func(rw http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != basic(OtherOne) {
						challenge(rw, `Basic realm="the second"`)
						return
					}
					p.world.give(Second, rw, r)
				}
				want := expect(one)
				if want.From != Mirror {
					want.From = Second
					want.Seen.add(Second, OtherOne)
				}
				check(t, string(state), p, c, PodLogin, play, want)
			}
		}
	})
}

// A mirror that redirects to storage has the header follow to the same name on another
// port, to a name below its own, and to plain http there; not to another name. A
// header of another name follows everywhere.
func TestRedirects(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		text := fmt.Sprintf(`version = 1
[[mirror]]
source = %q
targets = [%q]
[registry.%[2]q]
header = { X-Api-Key = { file = "/named" } }
%s`, p.world.host(Source), p.world.host(Mirror), delivered)
		if err := p.writeMap(text, map[string]string{names[Mirror]: basic(Header), "/named": Named.text()}); err != nil {
			t.Fatal(err)
		}
		both := []Secret{Header, Named}
		storage := ":" + p.world.port(Storage)
		for to, want := range map[string]Seen{
			"https://storage.example" + storage:             {Mirror: both, Storage: {Named}},
			"https://mirror.example" + storage:              {Mirror: both, Storage: both},
			"https://blobs.mirror.example" + storage:        {Mirror: both, Storage: both},
			"http://mirror.example:" + p.world.port(Plain):  {Mirror: both, Plain: both},
			"http://storage.example:" + p.world.port(Plain): {Mirror: both, Plain: {Named}},
		} {
			from := Storage
			if strings.HasPrefix(to, "http:") {
				from = Plain
			}
			for _, c := range clients {
				play := map[Party]http.HandlerFunc{
					Mirror: func(rw http.ResponseWriter, r *http.Request) {
						if path.Base(path.Dir(r.URL.Path)) == "blobs" {
							http.Redirect(rw, r, to+r.URL.Path, http.StatusTemporaryRedirect)
							return
						}
						p.world.give(Mirror, rw, r)
					},
					from: func(rw http.ResponseWriter, r *http.Request) { p.world.give(from, rw, r) },
				}
				check(t, to, p, c, NoLogin, play, Outcome{"mirror+" + from, want})
			}
		}
	})
}

// Objects that a mirror refuses come from the source, the others from the mirror.
func TestRefusedBlob(t *testing.T) {
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		for _, c := range clients {
			one := Case{c, Basic, Up, NoLogin, Public}
			if err := p.writeMap(p.mapOf(one), map[string]string{names[Mirror]: basic(Header)}); err != nil {
				t.Fatal(err)
			}
			for _, status := range []int{401, 403, 404} {
				play := p.world.parties(one)
				play[Mirror] = func(rw http.ResponseWriter, r *http.Request) {
					if path.Base(path.Dir(r.URL.Path)) == "blobs" {
						rw.WriteHeader(status)
						return
					}
					p.world.give(Mirror, rw, r)
				}
				check(t, fmt.Sprint(status), p, c, NoLogin, play, Outcome{"mirror+source", Seen{Mirror: {Header}}})
			}
		}
	})
}
