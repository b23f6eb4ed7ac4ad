package bustest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asNode is the environment variable that makes a test binary be a node.
const asNode = "POSTERN_TEST_NATS_NODE"

// node is one server of a cluster.
type node struct {
	Name   string   `json:"name"`
	Dir    string   `json:"dir"`
	Client string   `json:"client"` // address
	Route  string   `json:"route"`  // address
	Routes []string `json:"routes"` // of all

	cmd *exec.Cmd
	out *bytes.Buffer
}

// RunNode is called first by the TestMain of who uses a [Cluster]: in a process
// that was started to be a node it is one until somebody kills it, and returns
// at once in any other.
func RunNode() {
	text := os.Getenv(asNode)
	if text == "" {
		return
	}
	var n node
	err := json.Unmarshal([]byte(text), &n)
	if err == nil {
		err = n.serve()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// serve runs the server. It returns only if that fails.
func (n *node) serve() error {
	clientPort, err := portOf(n.Client)
	if err != nil {
		return err
	}
	routePort, err := portOf(n.Route)
	if err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: clientPort,
		Cluster:    server.ClusterOpts{Name: "standin", Host: "127.0.0.1", Port: routePort},
		MaxPayload: 8 << 20,
		JetStream:  true, StoreDir: n.Dir, SyncAlways: true,
		JetStreamMaxStore: 2 * maxStore, JetStreamMaxMemory: 64 << 20,
		NoLog: true,
	}
	for _, r := range n.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return fmt.Errorf("node %s ended by itself", n.Name)
}

func portOf(address string) (int, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, err
	}
	return a.Port, nil
}

// Cluster is three servers, each a process of its own that can be killed. They
// sync what they acknowledge. The package's TestMain must call [RunNode].
type Cluster struct {
	t     testing.TB
	nodes []*node
}

// NewCluster starts a cluster that is ready. It ends with the test.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var routes []string
	for i := range 3 {
		n := &node{Name: fmt.Sprintf("node-%d", i+1), Dir: filepath.Join(t.TempDir(), "store"), Client: freeAddress(t), Route: freeAddress(t)}
		c.nodes, routes = append(c.nodes, n), append(routes, n.Route)
	}
	for _, n := range c.nodes {
		n.Routes = routes
		c.Start(n.Name)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			c.Kill(n.Name)
		}
	})
	c.await(func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.AccountInfo(ctx) // the leader of the cluster answers
		return err
	})
	return c
}

// URL returns where the nodes are.
func (c *Cluster) URL() string {
	urls := make([]string, 0, len(c.nodes))
	for _, n := range c.nodes {
		urls = append(urls, "nats://"+n.Client)
	}
	return strings.Join(urls, ",")
}

// Start starts a node that doesn't run, with the store that it had.
func (c *Cluster) Start(name string) {
	c.t.Helper()
	n := c.node(name)
	text, err := json.Marshal(n)
	if err != nil {
		c.t.Fatal(err)
	}
	n.out = &bytes.Buffer{}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), asNode+"="+string(text))
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.out
	if err := n.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// Kill ends a node as kill -9 does. It does nothing to one that doesn't run.
func (c *Cluster) Kill(name string) {
	n := c.node(name)
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait() // that it was killed
	n.cmd = nil
	if n.out.Len() > 0 {
		c.t.Logf("%s: %s", name, n.out)
	}
}

// Leader returns the node that leads a stream, once there is one and all
// replicas have all that it has.
func (c *Cluster) Leader(stream string) string {
	c.t.Helper()
	leader := ""
	c.await(func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		cluster := s.CachedInfo().Cluster
		if cluster == nil || cluster.Leader == "" {
			return fmt.Errorf("%s has no leader", stream)
		}
		for _, r := range cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is not up to date", r.Name)
			}
		}
		leader = cluster.Leader
		return nil
	})
	return leader
}

// Connect connects to whichever node answers, and ends that with the test.
func (c *Cluster) Connect() jetstream.JetStream {
	c.t.Helper()
	nc, err := nats.Connect(c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// await asks until the answer is no error.
func (c *Cluster) await(ask func(context.Context, jetstream.JetStream) error) {
	c.t.Helper()
	js := c.Connect()
	defer js.Conn().Close()
	end, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		try, stop := context.WithTimeout(end, time.Second)
		err := ask(try, js)
		stop()
		if err == nil {
			return
		}
		select {
		case <-end.Done():
			c.t.Fatalf("the cluster did not get there in time: %v", err)
		case <-again.C:
		}
	}
}

func (c *Cluster) node(name string) *node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	panic("there is no node " + name)
}

// given are the ports that tests got.
var given sync.Map

// freeAddress returns an address on loopback that nobody listens at. Its port
// is below those that the system gives away, so that it stays free.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		if _, used := given.LoadOrStore(address, true); used {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return ""
}
