package deploy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composition is what is looked at in compose.yaml.
type composition struct {
	Services map[string]service
	Secrets  map[string]struct{ File string }
	Networks map[string]struct {
		IPAM struct {
			Config []struct {
				Subnet netip.Prefix
				Range  netip.Prefix `yaml:"ip_range"`
			}
		} `yaml:"ipam"`
	}
	Volumes map[string]any
}

type service struct {
	Image       string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Volumes     []string
	Secrets     []secret
	Networks    networks
}

// secret is a name, or a source with a target.
type secret struct{ Source, Target string }

func (s *secret) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		s.Source, s.Target = n.Value, "/run/secrets/"+n.Value
		return nil
	}
	type plain secret
	return n.Decode((*plain)(s))
}

// networks are names, or names with an address.
type networks map[string]string

func (ns *networks) UnmarshalYAML(n *yaml.Node) error {
	*ns = networks{}
	if n.Kind == yaml.SequenceNode {
		var names []string
		err := n.Decode(&names)
		for _, name := range names {
			(*ns)[name] = ""
		}
		return err
	}
	var addresses map[string]struct {
		Address string `yaml:"ipv4_address"`
	}
	err := n.Decode(&addresses)
	for name, a := range addresses {
		(*ns)[name] = a.Address
	}
	return err
}

func readComposition(t *testing.T) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal([]byte(sample(t, "compose/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 8 {
		t.Fatalf("compose.yaml has %d services", len(c.Services))
	}
	return c
}

// Every file that a container is given exists, every secret is one that
// make-secrets.sh makes, and no container may do more than it must.
func TestComposeFitsTogether(t *testing.T) {
	c := readComposition(t)
	made := secretsOf(t)
	for name, s := range c.Secrets {
		if s.File != "secrets/"+name {
			t.Errorf("secret %s is the file %s", name, s.File)
		}
		if _, err := os.Stat(filepath.Join(made, name)); err != nil {
			t.Errorf("make-secrets.sh does not make %s", name)
		}
	}
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it must", name)
		}
		if s.Image == "" || strings.HasSuffix(s.Image, ":latest") {
			t.Errorf("%s has the image %q", name, s.Image)
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret.Source]; !ok {
				t.Errorf("%s wants the secret %s, which is not there", name, secret.Source)
			}
		}
		for network := range s.Networks {
			if _, ok := c.Networks[network]; !ok {
				t.Errorf("%s is in the network %s, which is not there", name, network)
			}
		}
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s wants the volume %s, which is not there", name, from)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join("compose", from)); err != nil || !strings.HasSuffix(to, ":ro") {
				t.Errorf("%s mounts %s: %v, or not read-only", name, v, err)
			}
		}
		if d := s.Build.Dockerfile; d != "" {
			if _, err := os.Stat(filepath.Join("compose", s.Build.Context, d)); err != nil {
				t.Error(err)
			}
		}
	}
}

var inSecrets = regexp.MustCompile(`/run/secrets/([\w.-]+)`)

// What the samples read below /run/secrets is what their containers are given
// there.
func TestComposeGivesTheSecretsThatAreRead(t *testing.T) {
	c := readComposition(t)
	for name, files := range map[string][]string{
		"haproxy":    {"haproxy/haproxy.cfg"},
		"postern-1":  {"compose/postern/postern.yaml"},
		"postern-2":  {"compose/postern/postern.yaml"},
		"nats-1":     {"nats/nats.conf"},
		"nats-2":     {"nats/nats.conf"},
		"nats-3":     {"nats/nats.conf"},
		"prometheus": {"prometheus/prometheus.yml"},
		"grafana":    nil,
	} {
		want := map[string]bool{}
		text := strings.Join(c.Services[name].Command, " ")
		for _, v := range c.Services[name].Environment {
			text += " " + v
		}
		for _, file := range files {
			text += sample(t, file)
		}
		for _, m := range inSecrets.FindAllString(text, -1) {
			want[m] = true
		}
		if strings.Contains(text, "include passwords.conf") {
			want["/etc/nats/passwords.conf"] = true
		}
		for _, s := range c.Services[name].Secrets {
			if !want[s.Target] {
				t.Errorf("%s is given %s and does not read it", name, s.Target)
			}
			delete(want, s.Target)
		}
		for path := range want {
			t.Errorf("%s reads %s and is not given it", name, path)
		}
	}
}

// Numbers and names that stand in two files are the same in both.
func TestComposeAgreesWithTheSamples(t *testing.T) {
	c := readComposition(t)
	mod := sample(t, "../go.mod")
	version := regexp.MustCompile(`nats-server/v2 v([\d.]+)`).FindStringSubmatch(mod)
	if version == nil || c.Services["nats-1"].Image != "nats:"+version[1]+"-alpine" {
		t.Errorf("NATS is %s, and go.mod embeds %v", c.Services["nats-1"].Image, version)
	}
	config := sample(t, "compose/postern/postern.yaml")
	address := c.Services["haproxy"].Networks["front"]
	if !strings.Contains(config, "trusted_proxies: ["+address+"]") {
		t.Errorf("the receivers do not trust HAProxy at %s", address)
	}
	front := c.Networks["front"].IPAM.Config[0]
	if ip := netip.MustParseAddr(address); !front.Subnet.Contains(ip) || front.Range.Contains(ip) || !front.Subnet.Contains(front.Range.Addr()) {
		t.Errorf("HAProxy's address %s is not in %v, or in %v, where others get theirs", ip, front.Subnet, front.Range)
	}
	for _, n := range []string{"nats-1", "nats-2", "nats-3"} {
		if c.Services[n].Environment["NATS_NAME"] != n || !strings.Contains(config, "tls://"+n+":4222") ||
			!strings.Contains(sample(t, "nats/nats.conf"), "nats-route://"+n+":6222") {
			t.Errorf("%s is not known by its name everywhere", n)
		}
	}
	for _, r := range []string{"postern-1", "postern-2"} {
		if !strings.Contains(sample(t, "haproxy/haproxy.cfg"), " "+r+":8080 verifyhost "+r) ||
			!strings.Contains(sample(t, "prometheus/prometheus.yml"), `"`+r+`:8081"`) {
			t.Errorf("%s is not known by its name everywhere", r)
		}
	}
	for _, file := range []string{"grafana/provisioning/datasources/prometheus.yml", "grafana/provisioning/dashboards/postern.yml"} {
		var provisioned map[string]any
		if err := yaml.Unmarshal([]byte(sample(t, file)), &provisioned); err != nil || provisioned["apiVersion"] != 1 {
			t.Errorf("%s: %v, apiVersion %v", file, err, provisioned["apiVersion"])
		}
	}
}
