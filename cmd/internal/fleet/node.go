package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tokens"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Caching says who caches credentials on a node: the plugin's token cache if it is
// zero, or the kubelet alone, for this long.
type Caching time.Duration

// String names it as the table does.
func (c Caching) String() string {
	if c == 0 {
		return "mirrorcred"
	}
	return "kubelet, " + minutes(time.Duration(c))
}

// A Node is one of the fleet.
type Node struct {
	cloud  *Cloud
	random *rand.Rand // for what is drawn one after the other
	keeps  Caching
	memory tokens.Memory
	config azure.Config

	mu     sync.Mutex
	until  time.Time // when the kubelet's cache is over
	ready  time.Time // when it last had an image
	asked  struct{ second, now, most int }
	source bool // the kubelet was restarted for the map
}

// NewNode returns a node with an empty cache. Its number decides its random numbers.
func NewNode(c *Cloud, number int) *Node {
	config, err := azure.ReadConfig([]byte(`{"tenantId":"11111111-2222-3333-4444-555555555555","useManagedIdentityExtension":true}`))
	if err != nil {
		panic(err) // it is a constant
	}
	return &Node{cloud: c, random: randomOf(number), config: config}
}

// upTo returns a random time.
func (n *Node) upTo(longest time.Duration) time.Duration {
	return time.Duration(n.random.Int64N(int64(longest)))
}

// Reboot empties /run.
func (n *Node) Reboot() { n.memory.Clear() }

// runLimit is the plugin's --timeout.
const runLimit = 45 * time.Second

// Plugin gets a credential for a registry as a run of the plugin does
// (cmd/internal/plugin, cachedAzure and tokenCache).
func (n *Node) Plugin(ctx context.Context, registry mirror.Host) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	cache := tokens.NewIn(&n.memory, tokens.Options{})
	key := tokens.NewKey(registry.String())
	_, _, err := cache.Get(ctx, []tokens.Key{key}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
		source := azure.New(n.config, azure.Options{Transport: wire{n}, TokenCache: tokenCache(cache)})
		got, err := source.Credential(ctx, credential.Query{Registry: registry, Image: registry.String() + "/image"})
		return got, key, err
	})
	return err
}

func tokenCache(cache *tokens.Cache) azure.Cache {
	key := tokens.NewKey("Entra ID")
	return func(ctx context.Context, fetch func(context.Context) (credential.Credential, error)) (credential.Credential, error) {
		got, _, err := cache.Get(ctx, []tokens.Key{key}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
			got, err := fetch(ctx)
			return got, key, err
		})
		return got, err
	}
}

// peer is a plugin without a cache, behind that of the kubelet.
func (n *Node) peer() {
	n.mu.Lock()
	isKept := time.Now().Before(n.until)
	n.mu.Unlock()
	if isKept {
		return
	}
	n.asksMetadata()
	n.cloud.arrive(Metadata)
	for range TokenRequests {
		n.cloud.arrive(Token)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = time.Now().Add(time.Duration(n.keeps))
}

// asksMetadata counts how often this node asks its metadata service in a second.
func (n *Node) asksMetadata() {
	second := int(time.Since(n.cloud.start) / time.Second)
	n.mu.Lock()
	defer n.mu.Unlock()
	if second != n.asked.second {
		n.asked.second, n.asked.now = second, 0
	}
	n.asked.now++
	n.asked.most = max(n.asked.most, n.asked.now)
}

// The kubelet's pauses after a pull that failed
// (k8s.io/kubernetes, pkg/kubelet: MaxImageBackOff and the image manager's first).
const (
	firstPause = 10 * time.Second
	mostPause  = 5 * time.Minute
)

// Pull pulls an image as the kubelet does, until it is there or ctx ends.
func (n *Node) Pull(ctx context.Context, registry mirror.Host) {
	for pause := firstPause; n.attempt(ctx, registry) != nil; pause = min(2*pause, mostPause) {
		if !sleep(ctx, pause) {
			return
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = time.Now()
}

// attempt runs the plugin and then containerd. Without a credential the kubelet has
// containerd pull anyway.
func (n *Node) attempt(ctx context.Context, registry mirror.Host) error {
	if n.keeps != 0 {
		n.peer()
		return n.containerd(PullRequests)
	}
	if err := n.Plugin(ctx, registry); err != nil {
		n.containerd(refusedRequests)
		return err
	}
	return n.containerd(PullRequests)
}

// containerd sends the requests of a pull, up to the first that is refused to the end.
func (n *Node) containerd(requests int) error {
	for range requests {
		attempts := 1
		for ; n.cloud.arrive(Data) > 0; attempts++ {
			if attempts == mostAttempts {
				return errors.New("status 429")
			}
		}
	}
	return nil
}
