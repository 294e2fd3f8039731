package hosts

import (
	"strings"
	"testing"
)

// foreign are files that people write: each with what containerd calls for
// images of example.com, for 1.7 and for 2.4 if they differ, and the fault
// that Read names. "?" is where Read does not follow the TOML parser of 1.7.
var foreign = []struct {
	name, file string
	v1, v2     string // addresses, space separated; v2 "" is as v1
	fault      string // a part of it, for 2.4
}{
	{"nothing", "", "source", "", ""},
	{"a comment only", "# x\n", "source", "", ""},
	{"a stub", "[host]\n", "source", "", ""},
	{"server alone", "server = \"https://m\"\n", "m/v2", "", ""},
	{"server and a stub", "server = \"https://m\"\ncapabilities = [\"pull\"]\n\n[host]\n", "m/v2", "", ""},
	{"server below a host", "[host.\"https://a\"]\nserver = \"https://b\"\n", "a/v2 source", "", ""},
	{"server of a wrong type below a host", "[host.\"https://a\"]\nserver = 1\n", "a/v2 source", "", ""},
	{"hosts in order", "[host.\"https://z\"]\n[host.\"https://a\"]\n[host.\"https://m\"]\n", "z/v2 a/v2 m/v2 source", "", ""},
	{"a host twice", "[host.\"https://a\"]\n[host.\"https://a\"]\n", "source", "", "hosts.toml:2: not TOML"},
	{"a sub-table apart", "[host.\"https://a\"]\n[host.\"https://b\"]\n[host.\"https://a\".header]\nX = \"y\"\n", "a/v2 b/v2 source", "a/v2 b/v2 a/v2 source", ""},
	{"a sub-table first", "[host.\"https://a\".header]\nX = \"y\"\n[host.\"https://b\"]\n[host.\"https://a\"]\n", "a/v2 b/v2 source", "a/v2 b/v2 a/v2 source", ""},
	{"a sub-table in place", "[host.\"https://a\"]\n[host.\"https://a\".header]\nX = \"y\"\n[host.\"https://b\"]\n", "a/v2 b/v2 source", "", ""},
	{"a dotted key", "host.\"https://a\".capabilities = [\"pull\"]\n", "a/v2 source", "source", ""},
	{"an inline table", "[host]\n\"https://a\" = { skip_verify = true }\n", "a/v2 source", "source", ""},
	{"an inline table of tables", "host = { \"https://a\" = { capabilities = [\"pull\"] } }\n", "a/v2 source", "source", ""},
	{"an inline table and a header", "[host.\"https://a\"]\n[host]\n\"https://b\" = {}\n", "b/v2 a/v2 source", "a/v2 source", ""},
	{"a bare host table", "[host.a]\n[host.b.header]\n", "a/v2 b/v2 source", "", ""},
	{"an empty name", "[host.\"\"]\n[host.\"https://a\"]\n", "empty a/v2 source", "a/v2 source", ""},
	{"an empty name second", "[host.\"https://a\"]\n[host.\"\"]\n", "a/v2 empty source", "", ""},
	{"an array of tables", "[[host.\"https://a\"]]\n", "source", "", "hosts.toml:1: "},
	{"referrers", "[host.\"https://a\"]\ncapabilities = [\"pull\", \"referrers\"]\n", "source", "a/v2 source", ""},
	{"an unknown capability", "server = \"https://m\"\n\n[host.\"https://a\"]\ncapabilities = [\"pull\", \"fetch\"]\n", "source", "", "hosts.toml:4: capabilities has \"fetch\", which containerd 2.4 does not know; choose from pull, resolve, push, referrers"},
	{"capabilities in upper case", "[host.\"https://a\"]\ncapabilities = [\"PULL\", \"Resolve\"]\n", "a/v2 source", "", ""},
	{"no capabilities", "[host.\"https://a\"]\ncapabilities = []\n", "a/v2 source", "", ""},
	{"capabilities of no server", "capabilities = [\"pull\"]\n", "source", "", ""},
	{"a capability that is not a list", "[host.\"https://a\"]\ncapabilities = \"pull\"\n", "source", "", "hosts.toml:2: capabilities is not what containerd expects; write a list of strings"},
	{"keys in another case", "Server = \"https://m\"\n", "?", "m/v2", ""},
	{"a typing mistake", "sever = \"https://m\"\n", "source", "", ""},
	{"a byte order mark", "\ufeffserver = \"https://m\"\n", "m/v2", "source", "hosts.toml:1: the file begins with a byte order mark"},
	{"a byte order mark alone", "\ufeff", "source", "", "byte order mark"},
	{"CRLF", "server = \"https://m\"\r\n\r\n[host.\"https://a\"]\r\n  skip_verify = true\r\n", "a/v2 m/v2", "", ""},
	{"no newline at the end", "server = \"https://m\"", "m/v2", "", ""},
	{"half a file", "server = \"https://m\"\n[host.\"https", "source", "", "hosts.toml:2: not TOML"},
	{"no scheme", "server = \"m:5000\"\n[host.\"a/p\"]\n", "a/p/v2 m:5000/v2", "", ""},
	{"a name that begins with http", "[host.\"httpbin.example.com\"]\n", "empty:httpbin.example.com/v2 source", "", ""},
	{"a server that begins with http", "server = \"httpbin.example.com\"\n", "source", "", ""},
	{"https:// and no host", "server = \"https://\"\n", "source", "", ""},
	{"a path", "server = \"https://m/p\"\n", "m/p/v2", "", ""},
	{"a path with v2", "server = \"https://m/p/v2/\"\n", "m/p/v2", "", ""},
	{"a path below v2", "server = \"https://m/v2/p\"\n", "m/v2/p/v2", "", ""},
	{"a path that is the root", "server = \"https://m/\"\n", "m//v2", "", ""},
	{"an overridden path", "server = \"https://m/v2/p/\"\noverride_path = true\n", "m/v2/p", "", ""},
	{"an overridden path that is empty", "server = \"https://m\"\noverride_path = true\n", "m", "", ""},
	{"a user and a query", "server = \"https://u:p@m/p?x=1#f\"\n", "m/p/v2", "", ""},
	{"a bad URL", "[host.\"https://a\"]\n[host.\"https://b:port\"]\n", "source", "", "hosts.toml:2: containerd cannot parse this address; write one like \"https://host:5000\""},
	{"a password", "server = \"https://u:CANARY@h:CANARY\"\nheader = { Authorization = [\"CANARY\", 1] }\n", "source", "", "hosts.toml:1: containerd cannot parse this address"},
	{"a bad server", "\nserver = \"https://[m\"\n", "source", "", "hosts.toml:2: "},
	{"IPv6", "server = \"https://[2001:db8::1]:5000\"\n[host.\"https://a\"]\n", "a/v2 [2001:db8::1]:5000/v2", "", ""},
	{"IPv6 in a table", "[host.\"https://[2001:db8::1]:5000\"]\n", "source", "[2001:db8::1]:5000/v2 source", ""},
	{"IPv6 in an inline table", "[host]\n\"https://[2001:db8::1]:5000\" = {}\n", "[2001:db8::1]:5000/v2 source", "source", ""},
	{"plain http", "server = \"http://m\"\n[host.\"http://a:5000\"]\n", "http:a:5000/v2 http:m/v2", "", ""},
	{"http with TLS settings", "[host.\"http://a:5000\"]\nskip_verify = false\n[host.\"http://b\"]\nskip_verify = true\n[host.\"http://c:80\"]\nskip_verify = true\n[host.\"http://d:80\"]\nca = []\n[host.\"http://e:81\"]\nca = []\n[host.\"http://f:81\"]\nclient = []\n", "a:5000/v2 b/v2 http:c:80/v2 http:d:80/v2 e:81/v2 http:f:81/v2 source", "", ""},
	{"http with dial_timeout", "[host.\"http://a:5000\"]\ndial_timeout = \"1s\"\n", "http:a:5000/v2 source", "", ""},
	{"a bad dial_timeout", "server = \"https://m\"\ndial_timeout = \"soon\"\n", "m/v2", "source", "hosts.toml:2: dial_timeout is \"soon\", which is not a time; write one like \"5s\""},
	{"a dial_timeout without a unit", "server = \"https://m\"\ndial_timeout = 5\n", "m/v2", "source", "hosts.toml:2: dial_timeout is not what containerd expects; write a time in quotes, such as \"5s\""},
	{"a dial_timeout that is a date", "server = \"https://m\"\ndial_timeout = 1979-05-27\n", "?", "source", "hosts.toml:2: dial_timeout"},
	{"an empty dial_timeout", "server = \"https://m\"\ndial_timeout = \"\"\n", "m/v2", "", ""},
	{"a header that is a number", "[host.\"https://a\".header]\nX = 1\n", "source", "", "hosts.toml:1: header is not what containerd expects"},
	{"a header with a number in a list", "[host.\"https://a\"]\nheader = { X = [\"a\", 1] }\n", "source", "", "hosts.toml:2: header has something else in a list of strings; put it in quotes"},
	{"headers inline", "server = \"https://m\"\nheader = { X-A = \"\\\"q\\\\\\u0009é\", x-b = [\"1\", \"2\"] }\n[host.\"https://a\"]\nheader = { x-b = \"c\", X-B = [] }\n", "a/v2 m/v2", "", ""},
	{"headers of the source", "[header]\nX = \"y\"\n", "source", "", ""},
	{"a ca that is a number", "ca = 1\n", "source", "", "hosts.toml:1: ca is not what containerd expects; write a path or a list of paths"},
	{"a client of three files", "client = [[\"a\", \"b\", \"c\"]]\n", "source", "", "hosts.toml:1: client has an entry of 3 files; write a certificate and a key"},
	{"a client of one file in a pair", "client = [[\"a\"]]\n", "source", "", "client has an entry of 1 files"},
	{"a client that is a number", "client = [1]\n", "source", "", "hosts.toml:1: client is not"},
	{"skip_verify in quotes", "server = \"https://m\"\nskip_verify = \"true\"\n", "source", "", "hosts.toml:2: skip_verify is not what containerd expects; write true or false"},
	{"a host that is not a table", "host = 5\n", "source", "", "hosts.toml:1: host is not what containerd expects; write tables [host.\"https://…\"]"},
	{"the API of another tool", "[[registry]]\nlocation = \"m\"\n", "source", "", ""},
	{"not TOML at all", "{\"server\": \"https://m\"}", "source", "", "hosts.toml:1: not TOML"},
	{"not UTF-8", "server = \"https://m\xff\"\n", "?", "source", "hosts.toml:1: not TOML"},
}

// short writes calls as the table above does.
func short(list []called, source string) string {
	names := make([]string, len(list))
	for i, c := range list {
		address := c.address
		switch {
		case address == "https://"+source+" /v2":
			names[i] = "source"
		case address == ":// ":
			names[i] = "empty"
		case strings.HasPrefix(address, ":// "):
			names[i] = "empty:" + address[len(":// "):]
		case strings.HasPrefix(address, "http://"):
			names[i] = "http:" + strings.Replace(address[len("http://"):], " ", "", 1)
		default:
			names[i] = strings.Replace(address[len("https://"):], " ", "", 1)
		}
	}
	return strings.Join(names, " ")
}

func TestRead(t *testing.T) {
	for _, test := range foreign {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			if test.v2 == "" {
				test.v2 = test.v1
			}
			for _, o := range []struct {
				oracle
				want string
			}{{v1, test.v1}, {v2, test.v2}} {
				if o.want == "?" {
					continue
				}
				list, refused := compareRead(t, o.oracle, root, []byte(test.file), "example.com")
				if got := short(list, "example.com"); got != o.want {
					t.Errorf("%s calls %s; want %s", o.name, got, o.want)
				}
				if o.name == v2.name && (refused != nil) != (test.fault != "") {
					t.Errorf("Read(%q) refused it: %v; want %q", test.file, refused, test.fault)
				}
				if refused != nil && strings.Contains(refused.Error(), "CANARY") {
					t.Errorf("Read(%q) said %q, with the secret", test.file, refused)
				}
				if o.name == v2.name && refused != nil && !strings.Contains(refused.Error(), test.fault) {
					t.Errorf("Read(%q) said %q; want %q in it", test.file, refused, test.fault)
				}
			}
		})
	}
}

// TestReadSource asks for hosts that containerd reaches in ways of their own.
func TestReadSource(t *testing.T) {
	root := t.TempDir()
	for _, host := range []string{
		"docker.io", "index.docker.io", "registry-1.docker.io", "example.com:443", "example.com:80", "example.com:8443",
		"localhost", "localhost:80", "localhost:443", "localhost:5000", "LOCALHOST:5000", "localhost.example:5000",
		"127.0.0.1", "127.0.0.1:80", "127.1.2.3:5000", "127.1:5000", "10.0.0.1:5000",
		"[::1]", "[::1]:80", "[::1]:5000", "[::ffff:127.0.0.1]:5000", "[2001:db8::1]", "[2001:db8::1]:5000",
	} {
		for _, file := range []string{
			"", "[host]\n", "skip_verify = false\n", "[header]\nX = \"y\"\n", "capabilities = [\"pull\"]\n", "no TOML",
			"[host.\"http://localhost:5000\"]\n", "server = \"http://localhost:5000\"\n",
		} {
			for _, o := range []oracle{v1, v2} {
				compareRead(t, o, root, []byte(file), host)
			}
		}
	}
}

// TestReadTorn cuts a rendered file short: some of its beginnings are valid.
func TestReadTorn(t *testing.T) {
	files, err := renderText("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"m.example/p\", \"n.example\"]\nheader = { A = \"b\" }\n")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	_, body, _ := strings.Cut(string(files[0].Data), "\n")
	for i := range body {
		for _, o := range []oracle{v1, v2} {
			compareRead(t, o, root, []byte(body[:i]), "docker.io")
		}
	}
}

// TestReadVersion checks what differs between releases that the oracles are not.
func TestReadVersion(t *testing.T) {
	const (
		bare      = "server = \"https://m\"\n"
		referrers = "server = \"https://m\"\ncapabilities = [\"pull\", \"referrers\"]\n[host]\n"
		timeout   = "[host.\"http://a:5000\"]\ndial_timeout = \"1s\"\n"
		wrong     = "server = \"https://m\"\ndial_timeout = \"soon\"\n[host]\n"
	)
	for _, test := range []struct{ file, version, want string }{
		{bare, "1.7.31", "source"},
		{bare, "1.7.32", "m/v2"},
		{bare, "1.7", "m/v2"},
		{bare + "[host]\n", "1.7.31", "m/v2"},
		{bare + "[host.\"https://a\"]\n", "1.7.31", "a/v2 m/v2"},
		{referrers, "1.7", "source"},
		{referrers, "2.1.9", "source"},
		{referrers, "2.2.0", "m/v2"},
		{referrers, "", "m/v2"},
		{timeout, "1.7", "http:a:5000/v2 source"},
		{timeout, "2.0.6", "http:a:5000/v2 source"},
		{timeout, "2.0.11", "a:5000/v2 source"},
		{timeout, "2.1", "http:a:5000/v2 source"},
		{wrong, "2.0.6", "m/v2"},
		{wrong, "2.0.7", "source"},
		{wrong, "", "source"},
	} {
		list, _ := Read([]byte(test.file), "example.com", mustVersion(test.version))
		if got := short(calledByRead(list), "example.com"); got != test.want {
			t.Errorf("Read(%q) of containerd %q = %s; want %s", test.file, test.version, got, test.want)
		}
	}
}

// TestReadWritten checks what is in no list of calls: the paths as they are
// written, and the time.
func TestReadWritten(t *testing.T) {
	const file = `server = "https://m"
ca = "ca.pem"
client = ["both.pem", ["a.crt", "/a.key"], ["b.crt", ""]]
dial_timeout = "1500ms"
[host.a]
ca = ["/x.pem", "y.pem"]
client = "c.pem"
`
	list, err := Read([]byte(file), "example.com", Version{})
	if err != nil || len(list) != 2 {
		t.Fatalf("Read = %+v, %v; want two registries", list, err)
	}
	a, m := list[0], list[1]
	for _, test := range []struct{ what, got, want string }{
		{"ca of a", strings.Join(a.CA, " "), "/x.pem y.pem"},
		{"client of a", pairsText(a.Client), "c.pem:"},
		{"ca of server", strings.Join(m.CA, " "), "ca.pem"},
		// The last one's key is the directory: containerd fails the pull.
		{"client of server", pairsText(m.Client), "both.pem: a.crt:/a.key b.crt:."},
		{"dial_timeout of server", m.DialTimeout.String(), "1.5s"},
	} {
		if test.got != test.want {
			t.Errorf("%s = %q; want %q", test.what, test.got, test.want)
		}
	}
}

func pairsText(pairs [][2]string) string {
	texts := make([]string, len(pairs))
	for i, pair := range pairs {
		texts[i] = pair[0] + ":" + pair[1]
	}
	return strings.Join(texts, " ")
}

// FuzzRead holds Read against containerd 2.4 for any bytes, but for what is in
// other files.
func FuzzRead(f *testing.F) {
	for _, test := range foreign {
		f.Add([]byte(test.file), "example.com")
	}
	f.Add([]byte("server='a'\nca='x'\n"), "localhost:5000")
	f.Add([]byte("client=[['a','']]\n"), "docker.io")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, host string) {
		if strings.ContainsAny(host, "/\x00") || strings.Trim(host, ".") == "" || len(host) > 200 {
			t.Skip("no host of an image")
		}
		compareRead(t, v2, root, data, host)
		// 1.7 has another TOML parser: see Read.
		if _, err := Read(data, host, v1.version); err != nil && !strings.HasPrefix(err.Error(), FileName+":") {
			t.Errorf("Read(%q) of 1.7: %v; want a fault", data, err)
		}
	})
}
