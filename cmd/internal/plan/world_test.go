package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A world is a node without a disk: its files, its clock and its kubelet are
// values. It is a [Carrier] that can be killed before each of its steps.
type world struct {
	trees   map[string]map[string][]byte // hosts.toml files by hosts_dir and namespace
	routes  map[string][]byte
	kubelet []byte // its configuration; nil if there is none
	written Moment // when that was written last
	stamp   int    // of that version
	state   State

	rendering Rendering

	now     Moment
	run     []Process
	records bool            // whether the kubelet writes its pulls down
	pulling map[string]bool // hosts of which a pull is under way
	// answered are the mirrors whose first target has answered, as in [Observed].
	answered map[string]bool

	desired string // the hosts_dir of the plan that is carried out
	armed   string // the one that the plugin may answer for
	// killAt is the step before which a run is killed, counted down; 0 is never.
	killAt int
	wrote  int // how many changes were made
	plant  flaw
	reader *kubeletconfig.Reader // of its files
	plans  int                   // how many were made

	wall  time.Duration // the wall clock, which goes on at a reboot
	given given
}

// A flaw is something wrong, for tests that see whether it is noticed.
type flaw struct {
	desired func(*Desired)
	plan    func(*Plan)
	state   func(*State)
}

func newWorld(reader *kubeletconfig.Reader) *world {
	return &world{
		reader: reader,
		trees:  map[string]map[string][]byte{trees[0]: {}, trees[1]: {}}, routes: map[string][]byte{},
		now: Moment{"boot", time.Hour}, pulling: map[string]bool{}, records: true, answered: map[string]bool{},
	}
}

var trees = []string{"/etc/containerd/certs.d", "/srv/certs.d"}

// errKilled is what a run ends with that is killed: nothing is cleaned up.
var errKilled = errors.New("killed")

func (w *world) step() error {
	if w.killAt == 1 {
		return errKilled
	}
	w.killAt = max(0, w.killAt-1)
	return nil
}

// apply plans and carries out, as package node does.
func (w *world) apply(d Desired) (Plan, error) {
	if w.plant.desired != nil {
		w.plant.desired(&d)
	}
	w.desired = d.Map.Containerd.HostsDir
	o := w.observe(d)
	for {
		now := Moments{w.now, time.Unix(0, int64(w.wall)).UTC()}
		p, questions, err := Make(d, o, now)
		if len(questions) == 0 {
			if err == nil {
				err = w.judge(p, d, o, now)
			}
			if err == nil {
				err = changesOnce(p)
			}
			if err == nil {
				if w.plant.plan != nil {
					w.plant.plan(&p)
				}
				err = p.CarryOut(context.Background(), w)
			}
			return p, err
		}
		for _, q := range questions {
			o.Answers[q] = w.answer(q)
		}
	}
}

// judge makes every fiftieth plan once more, from files that are all read anew and
// sources that are all planned in full, and refuses a plan that is not the same.
func (w *world) judge(p Plan, d Desired, o Observed, now Moments) error {
	if w.plans++; w.plans%50 != 0 {
		return nil
	}
	o.Kubelet.Reader, o.Decode, d.rendered = nil, nil, nil
	nothing := func(*Desired, routes, tree) settled { return nil }
	if full, _, err := makeFrom(d, o, now, nothing); err != nil || !reflect.DeepEqual(p, full) {
		return fmt.Errorf("with what was read before the plan is\n%+v\nand without that\n%+v, %v", p, full, err)
	}
	return nil
}

// changesOnce refuses a plan that changes a file twice in a stage: the disk takes the
// second change for that of a file which another program changed.
func changesOnce(p Plan) error {
	for i, c := range p.Changes {
		if slices.ContainsFunc(p.Changes[:i], func(before Change) bool { return before.Stage == c.Stage && before.Path == c.Path }) {
			return fmt.Errorf("%s changes twice in the stage %q", c.Path, c.Stage)
		}
	}
	return nil
}

func (w *world) observe(d Desired) Observed {
	dir := d.Map.Containerd.HostsDir
	o := Observed{
		Namespaces: namespacesOf(w.trees[dir]), Routes: maps.Clone(w.routes), Decode: decodeOnce, State: w.state, Ready: maps.Clone(w.answered),
		Running: w.run, Answers: map[Question]Answer{}, Certificates: make([][][]tlsfiles.Problem, len(d.Map.Mirrors)),
		Kubelet:    KubeletFiles{Mode: 0o644, Files: map[string][]byte{}, Reader: w.reader},
		Deliveries: w.given.deliveries(d.full()),
	}
	if w.kubelet != nil {
		o.Kubelet.Files[path.Base(d.Map.Kubelet.Config)] = w.kubelet
		o.Kubelet.Version, o.Kubelet.Changed = Version{Stamp: strconv.Itoa(w.stamp)}, w.written
	}
	if o.OldHostsDir = PreviousTree(o, dir); o.OldHostsDir != "" {
		o.OldNamespaces = namespacesOf(w.trees[o.OldHostsDir])
	}
	return o
}

func namespacesOf(tree map[string][]byte) map[string]Namespace {
	list := make(map[string]Namespace, len(tree))
	for name, data := range tree {
		isSecret := strings.Contains(string(data), authorizationKey)
		list[name] = Namespace{Hosts: data, Mode: 0o644, Alone: true, Closed: isSecret}
		if isSecret {
			list[name] = Namespace{Hosts: data, Mode: 0o600, Alone: true, Closed: true}
		}
	}
	return list
}

func (w *world) answer(q Question) Answer {
	switch q.About {
	case AboutLink:
		return Answer{Err: fs.ErrNotExist}
	case aboutVersion:
		return Answer{Text: "1.36.3"}
	case AboutPulls:
		if !w.records {
			return Answer{Pulls: Pulls{Unknown: "they are off"}}
		}
		var a Answer
		for host := range w.pulling {
			image, err := mirror.ParseImage(host + "/app/image:1")
			if err != nil {
				panic(err)
			}
			a.Images = append(a.Images, image)
		}
		return a
	}
	return Answer{}
}

// Change makes the changes of a stage, each a step.
func (w *world) Change(_ context.Context, stage Stage, changes []Change, p *Plan) error {
	for _, c := range changes {
		if err := w.step(); err != nil {
			return err
		}
		w.wrote++
		dir, name := path.Split(c.Path)
		var in map[string][]byte
		switch {
		case c.Link: // to the plugin
			continue
		case stage == StageKubelet:
			w.kubelet, w.written = c.New, w.now
			w.stamp++
			continue
		case path.Clean(dir) == RoutesDir:
			in, name = w.routes, strings.TrimSuffix(name, ".json")
		default:
			in, name = w.trees[path.Dir(path.Clean(dir))], path.Base(dir)
		}
		isEarlier := func(before Change) bool { // as an earlier stage left it
			return before.Path == c.Path && slices.Index(Stages, before.Stage) < slices.Index(Stages, stage)
		}
		if was := in[name]; string(was) != string(c.Old) && stage != StageForget && !slices.ContainsFunc(p.Changes, isEarlier) {
			return fmt.Errorf("%s is not as the plan saw it", c.Path)
		}
		if c.New == nil {
			delete(in, name)
		} else {
			in[name] = c.New
		}
	}
	return nil
}

// Remember keeps a copy of the state.
func (w *world) Remember(s State) error {
	if err := w.step(); err != nil {
		return err
	}
	s.Drains, s.Lasting, s.Adopted, s.Provided = maps.Clone(s.Drains), maps.Clone(s.Lasting), maps.Clone(s.Adopted), slices.Clone(s.Provided)
	s.Ready = maps.Clone(s.Ready)
	if w.plant.state != nil {
		w.plant.state(&s)
	}
	w.state = s
	return nil
}

func (w *world) Resume() error                        { return w.step() }
func (w *world) Interrupted(context.Context) error    { return nil }
func (w *world) Now() (Moment, error)                 { return w.now, nil }
func (w *world) Kubelets() ([]Process, string, error) { return w.run, "", nil }
func (w *world) Stamp(*Plan) (string, bool)           { return strconv.Itoa(w.stamp), w.kubelet != nil }
func (w *world) hosts(tree int, ns string) []byte     { return w.trees[trees[tree]][ns] }
func (w *world) has(tree int, ns string) (there bool) {
	_, there = w.trees[trees[tree]][ns]
	return there
}
func (w *world) after(d time.Duration)                { w.now.Since, w.wall = w.now.Since+d, w.wall+d }
func (w *world) put(tree int, ns string, data []byte) { w.trees[trees[tree]][ns] = data }
func (w *world) remove(tree int, ns string)           { delete(w.trees[trees[tree]], ns) }

// Arm has the plugin answer for the plan's hosts_dir.
func (w *world) Arm() error {
	if err := w.step(); err != nil {
		return err
	}
	w.armed = w.desired
	return nil
}

// Disarm has the plugin answer nothing.
func (w *world) Disarm() error {
	if err := w.step(); err != nil {
		return err
	}
	w.armed = ""
	return nil
}

// startKubelet starts the kubelet anew.
func (w *world) startKubelet(records bool) {
	w.after(time.Second)
	w.records, w.pulling = records, map[string]bool{}
	w.run = []Process{{PID: 100, Started: w.now, Config: mirror.DefaultKubeletConfig, BinDir: mirror.DefaultBinDir}}
	w.after(time.Second)
}

// observed returns what containerd reads for a host.
func (w *world) observed(tree int, host string) route.Observed {
	now := route.Observed{Dir: trees[tree]}
	for _, name := range hosts.Candidates(host) {
		if w.has(tree, name) {
			now.Namespace, now.Hosts = name, w.hosts(tree, name)
			break
		}
	}
	return now
}

// decided does as the plugin does (cmd/internal/plugin, routes.go).
func (w *world) decided(image mirror.Image) ([]route.Offer, error) {
	own, wildcard := w.route(hosts.Candidates(image.Host())[0]), w.route(hosts.Default)
	in := own
	if in == nil {
		in = wildcard
	}
	if in == nil {
		return nil, fs.ErrNotExist
	}
	now := w.observed(slices.Index(trees, in.HostsDir), image.Host())
	offers, err := route.Decide(image, own, wildcard, now)
	if err == nil && in.HostsDir != w.armed && slices.ContainsFunc(offers, func(o route.Offer) bool { return o.Credential != nil }) {
		return nil, errUnarmed
	}
	return offers, err
}

// errUnarmed is why the plugin does not answer by a route of another tree.
var errUnarmed = errors.New("the node is armed for another tree")

// cache keeps what is decoded again and again, for all lives.
type cache struct {
	mu      sync.Mutex
	routes  map[string]*route.Route
	entries map[string][]Entry
	maps    map[string]*mirror.Map
	desired map[string]Desired
	reads   map[string][]string
	allowed map[string][][]string // by file
}

var known = cache{routes: map[string]*route.Route{}, entries: map[string][]Entry{}, maps: map[string]*mirror.Map{}, desired: map[string]Desired{}, reads: map[string][]string{}, allowed: map[string][][]string{}}

// once returns what is kept for a key, or keeps what make returns.
func once[T any](kept map[string]T, key string, make func() T) T {
	known.mu.Lock()
	v, ok := kept[key]
	known.mu.Unlock()
	if ok {
		return v
	}
	v = make()
	known.mu.Lock()
	defer known.mu.Unlock()
	if len(kept) > 100_000 {
		clear(kept)
	}
	kept[key] = v
	return v
}

func (w *world) route(name string) *route.Route {
	data, ok := w.routes[name]
	if !ok {
		return nil
	}
	r, err := decodeOnce(data)
	if err != nil {
		panic(err)
	}
	return &r
}

// decodeOnce decodes a route that no step has made wrong.
func decodeOnce(data []byte) (route.Route, error) {
	return *once(known.routes, string(data), func() *route.Route {
		r, err := route.Decode(data)
		if err != nil {
			panic(err)
		}
		return &r
	}), nil
}

// matched returns the patterns for which a kubelet runs mirrorcred's plugin that starts now.
func (w *world) matched() []string {
	if w.kubelet == nil {
		return nil
	}
	entries := once(known.entries, string(w.kubelet), func() []Entry {
		return State{}.EntriesOf(kubeletconfig.File{Name: "config.yaml", Data: w.kubelet})
	})
	var list []string
	for _, e := range entries {
		list = append(list, e.Match...)
	}
	return list
}

// parse parses a map.
func parse(text string) *mirror.Map {
	return once(known.maps, text, func() *mirror.Map {
		m, err := mirror.Parse("map", []byte(text))
		if err != nil {
			panic(text + err.Error())
		}
		return m
	})
}

// desire renders a map without delivered credentials.
func desire(text string) Desired { return new(world).desire(text) }

// desire renders a map with what was handed over, as package node does.
func (w *world) desire(text string) Desired {
	full := parse(text)
	key := ""
	if slices.ContainsFunc(full.Mirrors, mirror.Mirror.Delivers) {
		key = fmt.Sprint(w.given.state(w.wall))
	}
	wall := time.Unix(0, int64(w.wall))
	d := once(known.desired, text+key, func() Desired {
		d := Desired{MapFile: "map", Wanted: map[string]bool{}}
		d.Full, d.Map = Deliver(full, w.given.deliveries(full), wall)
		if err := w.rendering.Render(&d, hosts.Options{Secrets: w.given.values(full)}); err != nil {
			panic(err)
		}
		for _, f := range d.Files {
			d.Wanted[f.Namespace] = true
		}
		allow(d)
		return d
	})
	d.Wall = wall
	return d
}
