package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/seed75441868/postern/receiver/journal"
)

// soon is how long before its end a certificate is warned of.
const soon = 14 * 24 * time.Hour

// certificates looks at what the listeners show and at what sources pin.
func (d *doctor) certificates() {
	for _, l := range []struct {
		name   string
		tls    *TLS
		listen string
		public bool
	}{
		{"ingress.tls", d.cfg.Ingress.TLS, d.cfg.Ingress.Listen, true},
		{"ops.tls", d.cfg.Ops.TLS, d.cfg.Ops.Listen, false},
		{"nats.embedded.tls", d.cfg.NATS.Embedded.TLS, d.cfg.NATS.Embedded.Listen, false},
	} {
		switch {
		case l.tls != nil:
			d.certificate(l.name, l.tls, l.public)
		case l.public && !isLoopback(l.listen):
			d.warn(l.name, "set ingress.tls, or have a proxy end TLS and listen on an address that only it reaches",
				"is not set: pushes arrive unencrypted at %s", l.listen)
		}
	}
	for _, s := range d.cfg.Sources {
		if s.Opened.Push == nil {
			continue
		}
		for _, c := range s.Opened.Push.Certificates {
			d.ending(join("sources", s.Name)+".push", c.Name, c.NotAfter, false)
		}
	}
}

func (d *doctor) certificate(name string, t *TLS, public bool) {
	pair, err := tls.LoadX509KeyPair(string(t.Cert), string(t.Key))
	if err != nil {
		d.fail(name, "put a certificate and its key there", "can't be used: %s", firstLine(err))
		return
	}
	d.ending(name, string(t.Cert), pair.Leaf.NotAfter, true)
	if d.now.Before(pair.Leaf.NotBefore) {
		d.fail(name, "wait, or correct the clock", "%s is not valid before %s", t.Cert, day(pair.Leaf.NotBefore))
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: d.now})
	switch {
	case err == nil:
		d.ok(name, "its chain leads to a root that this machine trusts; it is issued to %s", enumerate(pair.Leaf.DNSNames, "and"))
	case public:
		d.warn(name, "use one of a public authority, with its intermediates behind it in the file: Amazon SNS connects to no other",
			"no root that this machine trusts stands behind %s: %s", t.Cert, firstLine(err))
	default:
		d.ok(name, "callers must be told to trust it: no root that this machine trusts stands behind %s", t.Cert)
	}
}

// ending tells when a certificate ends. One that is not shown to anybody still
// verifies after that.
func (d *doctor) ending(name, file string, end time.Time, shown bool) {
	left := end.Sub(d.now)
	switch {
	case left < 0 && shown:
		d.fail(name, "replace it; it is reloaded by itself", "%s ended on %s", file, day(end))
	case left < 0:
		d.warn(name, "ask for the one that followed it", "%s ended on %s", file, day(end))
	case left < soon:
		d.warn(name, "ask for the one that follows it", "%s ends on %s", file, day(end))
	default:
		d.ok(name, "%s is good until %s", file, day(end))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// keys looks whether the keys belong to the data, and where they are.
func (d *doctor) keys() {
	known, err := d.cfg.keyConfig(nil).List()
	if err != nil {
		d.fail("keys", "put the right file back", "%s", firstLine(err))
		return
	}
	for _, k := range known {
		if k.Where == "" {
			d.fail("keys", "put it back, or restore data_dir with the keys that belong to it",
				"the %s key %s is missing, and nothing starts without it", k.Use, k.Fingerprint)
		}
	}
	if len(known) == 0 {
		d.ok("keys", "there are none yet: they are made at the first start")
	} else {
		d.ok("keys", "%s, `postern keys list` shows their fingerprints", count(len(known), "key"))
	}
	if len(d.cfg.Seal.Keys) == 0 {
		d.warn("keys", "keep the key elsewhere and name it under seal.keys, as a systemd credential for example; keep a copy of it in any case",
			"the seal key lies in data_dir, beside what it seals: who takes the disk has both")
		return
	}
	for i, s := range d.cfg.Seal.Keys {
		if s.File != "" && inside(string(d.cfg.DataDir), s.File) {
			d.warn("keys", "move it out of data_dir", "seal.keys[%d] lies in data_dir, beside what it seals: who takes the disk has both", i)
		}
	}
}

// inside reports whether a file is below a folder.
func inside(dir, file string) bool {
	dir, errDir := filepath.Abs(dir)
	file, errFile := filepath.Abs(file)
	rest, err := filepath.Rel(dir, file)
	return errors.Join(errDir, errFile, err) == nil && filepath.IsLocal(rest)
}

// modes looks at who may read data_dir and what is secret in it. The modes of
// configured secrets are a warning of the configuration.
func (d *doctor) modes() {
	dir := string(d.cfg.DataDir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok("data_dir", "%s is made at the first start", dir)
		return
	case err != nil:
		d.fail("data_dir", "let the receiver's user read and write it", "%s %s", dir, unreadable(err))
		return
	case !info.IsDir():
		d.fail("data_dir", "name a folder", "%s is no folder", dir)
		return
	}
	open := false
	for _, name := range []string{"", "journal", "nats", "seal.key", "pseudonym.key", "nats.key", opsTokenFile} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || runtime.GOOS == "windows" {
			continue
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && name != "" || mode&0o022 != 0 {
			open = true
			d.warn("data_dir", "run `chmod go-rwx "+path+"`", "others may use %s (mode %04o)", path, mode)
		}
	}
	if !open {
		d.ok("data_dir", "others can't use what is in %s", dir)
	}
}

// disk compares what may be used with what there is.
func (d *doctor) disk() {
	dir := existing(string(d.cfg.DataDir))
	free, _, err := journal.Room(dir)
	if err != nil {
		d.warn("disk", "", "its room can't be seen: %s", firstLine(err))
		return
	}
	reserve := uint64(d.cfg.Journal.Reserve)
	switch {
	case free < reserve:
		d.fail("disk", "make room, or lower journal.reserve", "%s are free, below journal.reserve (%s): pushes are answered 503", bytesOf(free), bytesOf(reserve))
	case free < 2*reserve:
		d.warn("disk", "make room", "%s are free, near journal.reserve (%s)", bytesOf(free), bytesOf(reserve))
	default:
		d.ok("disk", "%s are free, %s must remain", bytesOf(free), bytesOf(reserve))
	}
	wanted := uint64(d.cfg.Journal.MaxBytes) + reserve
	if d.cfg.NATS.URL == "" {
		wanted += uint64(d.cfg.NATS.Embedded.MaxStore)
	}
	if has := free + usedBy(string(d.cfg.DataDir)); wanted > has {
		d.warn("disk", "use a larger disk, or lower nats.embedded.max_store or journal.max_bytes",
			"streams, journal and reserve may take %s together, and have %s", bytesOf(wanted), bytesOf(has))
	}
}

// existing returns dir, or what above it is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// usedBy returns how many bytes a folder's files have.
func usedBy(dir string) (n uint64) {
	// What disappears meanwhile, or isn't for us to see, takes no room.
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += uint64(info.Size())
		}
		return nil
	})
	return n
}

// bytesOf writes a size in the unit that suits it.
func bytesOf(n uint64) string {
	const units = "KMGTP"
	value, i := float64(n), -1
	for value >= 1024 && i < len(units)-1 {
		value /= 1024
		i++
	}
	if i < 0 {
		return count(int(n), "byte")
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}

// sources looks at who may push.
func (d *doctor) sources() {
	for _, s := range d.cfg.Sources {
		push := s.Opened.Push
		if push == nil {
			continue
		}
		name := join("sources", s.Name) + ".push.allow"
		sane := true
		reachable := false
		for _, prefix := range push.Allow {
			reachable = reachable || prefix.Addr().IsLoopback()
			if bits := prefix.Bits(); prefix.Addr().Is4() && bits < 16 || prefix.Addr().Is6() && bits < 48 {
				sane = false
				d.warn(name, "name the addresses that the platform gave you, not the networks around them", "%s is very wide", prefix)
			}
		}
		if d.cfg.Ingress.ClientIP == "direct" && isLoopback(d.cfg.Ingress.Listen) && !reachable {
			sane = false
			d.fail(name, "with a proxy on this machine, set ingress.client_ip and ingress.trusted_proxies; without, listen on an address that the platform reaches",
				"nobody can call: the ingress listens on %s only, and no loopback address is allowed", d.cfg.Ingress.Listen)
		}
		if sane {
			d.ok(name, "%s", enumerate(prefixNames(push.Allow), "and"))
		}
		d.lastPush(s.Name)
		d.subscriptions(s.Name)
	}
}

func prefixNames(all []netip.Prefix) []string {
	names := make([]string, 0, len(all))
	for _, p := range all {
		if p.IsSingleIP() {
			names = append(names, p.Addr().String())
		} else {
			names = append(names, p.String())
		}
	}
	return names
}

// listeners looks whether each address can be had, or answers if the receiver
// runs.
func (d *doctor) listeners() {
	d.listener("ingress.listen", d.cfg.Ingress.Listen)
	d.listener("ops.listen", d.cfg.Ops.Listen)
	if d.cfg.NATS.URL == "" && d.cfg.NATS.Embedded.Listen != "" {
		d.listener("nats.embedded.listen", d.cfg.NATS.Embedded.Listen)
	}
}

func (d *doctor) listener(name, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return // the configuration would not have been read
	}
	if port == "0" {
		d.ok(name, "%s: the system chooses the port", address)
		return
	}
	if d.running != nil {
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 2*time.Second)
		if err != nil {
			d.fail(name, "restart the receiver if it runs with another configuration", "nobody listens on %s: %s", address, firstLine(err))
			return
		}
		_ = c.Close() // it was only asked whether somebody is there
		d.ok(name, "%s answers", address)
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		d.fail(name, "choose another address, or end what listens there", "%s can't be had: %s", address, firstLine(err))
		return
	}
	_ = l.Close() // it was only asked whether it can be had
	d.ok(name, "%s can be had", address)
}
