package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A traffic is pulls from mcr.microsoft.com that go on, four at a time and each
// of an image of its own, while a test changes something. The test cuts the
// time into moments, and each pull knows those in which it began and ended.
type traffic struct {
	t      *testing.T
	target func(moment int) string // what the map says then
	wait   func()

	mu     sync.Mutex // guards what follows
	moment int
	pulls  []*pulled
	ended  bool
}

// A pulled is one pull. Its repository has its number in traffic.pulls.
type pulled struct {
	begun, ended int // moments; ended is -1 while it goes on
	err          error
}

// within reports whether the pull is over and saw no moment but one.
func (p *pulled) within(moment int) bool { return p.begun == moment && p.ended == moment }

// byCRI pulls as the kubelet does.
func byCRI(t *testing.T, c *node.Containerd) func(number int) error {
	return func(number int) error {
		return pull(t.Context(), c, "mcr.microsoft.com/"+looped(number), "1")
	}
}

// byPods has the kubelet pull, for a pod, and waits until the image is there. A
// pull that failed is made again by the kubelet; see [traffic.checkLog]. There is
// no program in the image, so that the kubelet tries again and again to start it:
// it must not pull for that.
func byPods(t *testing.T, c *node.Containerd) func(number int) error {
	return func(number int) error {
		name, image := fmt.Sprintf("loop%d", number), "mcr.microsoft.com/"+looped(number)+":1"
		if err := node.RunPodOnce(name, image); err != nil {
			return err
		}
		defer node.RemovePod(name)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		return node.Until(ctx, func() error { return c.Has(ctx, image) })
	}
}

// checkLog ends the traffic, and takes down which pulls the kubelet says in its
// log to have failed.
func (tr *traffic) checkLog(log string) {
	tr.stop()
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "PullImage from image service failed") {
			continue
		}
		for _, found := range loopedName.FindAllStringSubmatch(line, -1) {
			if number, err := strconv.Atoi(found[2]); err == nil && number < len(tr.pulls) {
				tr.pulls[number].err = errors.New(strings.TrimSpace(line))
			}
		}
	}
}

// startTraffic begins the pulls, each by a call of pull. They end with the test
// at the latest.
func startTraffic(t *testing.T, pull func(number int) error, target func(moment int) string) *traffic {
	tr := &traffic{t: t, target: target}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for number := tr.begin(); number >= 0; number = tr.begin() {
				tr.end(number, pull(number))
			}
		})
	}
	tr.wait = workers.Wait
	t.Cleanup(tr.stop)
	return tr
}

func looped(number int) string { return fmt.Sprintf("loop/app%d", number) }

// begin notes a new pull and returns its number, or -1 if there must be no more. Its
// image is wherever the map leads, from just before this call until just after the next.
func (tr *traffic) begin() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.ended {
		return -1
	}
	number := len(tr.pulls)
	var places []string
	for moment := tr.moment - 1; moment <= tr.moment+2; moment++ {
		places = append(places, tr.target(moment))
	}
	for _, place := range slices.Compact(places) {
		registry, prefix, _ := strings.Cut(place, "/")
		if _, err := world.acr[registry].PushRandom(path.Join(prefix, looped(number)), "1"); err != nil {
			tr.t.Error(err)
			return -1
		}
	}
	tr.pulls = append(tr.pulls, &pulled{begun: tr.moment, ended: -1})
	return number
}

func (tr *traffic) end(number int, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.pulls[number].ended, tr.pulls[number].err = tr.moment, err
}

// next begins the next moment.
func (tr *traffic) next() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.moment++
}

// settle waits until some pulls have begun and ended in this moment.
func (tr *traffic) settle(pulls int) {
	tr.t.Helper()
	within(tr.t, time.Minute, func() error {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		count := 0
		for _, p := range tr.pulls {
			if p.within(tr.moment) {
				count++
			}
		}
		if count < pulls {
			return fmt.Errorf("%d pulls began and ended in moment %d", count, tr.moment)
		}
		return nil
	})
}

// stop ends the traffic when the last pull has; a second stop does nothing.
func (tr *traffic) stop() {
	tr.mu.Lock()
	tr.ended = true
	tr.mu.Unlock()
	tr.wait()
}

// checkCalm ends the traffic and fails the test if a pull that saw no moment
// but a calm one failed, asked another target than the map names, or was made
// with the credential of another registry. It prints what became of the others.
func (tr *traffic) checkCalm(calm func(moment int) bool) {
	tr.t.Helper()
	tr.stop()
	isCalm := func(p *pulled) bool { return calm(p.begun) && p.within(p.begun) }
	others, failed := 0, 0
	for number, p := range tr.pulls {
		switch {
		case isCalm(p) && p.err != nil:
			tr.t.Errorf("%s, in moment %d, when nothing changed: %v", looped(number), p.begun, p.err)
		case !isCalm(p):
			others++
			if p.err != nil {
				failed++
			}
		}
	}
	misled := 0
	for host, acr := range world.acr {
		for _, r := range acr.Requests() {
			number, place := tr.pullOf(host, r)
			if number < 0 {
				continue
			}
			p, audience := tr.pulls[number], audienceOf(r)
			misplaced := audience != "" && audience != host
			switch {
			case isCalm(p) && (misplaced || place != tr.target(p.begun)):
				tr.t.Errorf("%s, in moment %d: %s was asked, with a credential of %q; want %s and its own",
					looped(number), p.begun, place, audience, tr.target(p.begun))
			case misplaced:
				misled++
			}
		}
	}
	tr.t.Logf("%d pulls, %d of them across a change: of these %d failed, and a target was shown another's credential %d times",
		len(tr.pulls), others, failed, misled)
}

var loopedName = regexp.MustCompile(`(t[0-9]+/)?loop/app([0-9]+)`)

// pullOf returns the number of the pull that a request is part of, -1 if it
// is of none, and the target that it was asked of.
func (tr *traffic) pullOf(host string, r azuretest.Request) (number int, target string) {
	longest := ""
	// containerd asks for a token for the repository by the image's name, too:
	// in a form, or in an escaped query.
	asked := r.URL
	if plain, err := url.QueryUnescape(asked); err == nil {
		asked = plain
	}
	for _, name := range loopedName.FindAllString(asked+" "+strings.Join(r.Form["scope"], " "), -1) {
		if len(name) > len(longest) {
			longest = name
		}
	}
	found := loopedName.FindStringSubmatch(longest)
	if found == nil {
		return -1, ""
	}
	number, err := strconv.Atoi(found[2])
	if err != nil || number >= len(tr.pulls) {
		return -1, ""
	}
	return number, path.Join(host, found[1])
}

// audienceOf returns the registry that the token in a request is for, "" if
// it has none.
func audienceOf(r azuretest.Request) string {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, field := range []string{"password", "refresh_token"} {
		if v := r.Form.Get(field); v != "" {
			token = v
		}
	}
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Audience string `json:"aud"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Audience
}
