package main

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
)

// reloadable are the settings that are applied while it runs, and what is
// below them. All others wait for a restart.
var reloadable = []string{
	"insecure", // only says which values sources may have
	"ingress.tls.cert", "ingress.tls.key",
	"log.level",
	"ops.tls.cert", "ops.tls.key",
	"ops.tokens",
	"outbound", // each source gets its own means of it
	"sources",
}

// following are settings whose files are followed by who uses them: only
// another file is a change.
var following = []string{"nats.credentials", "nats.embedded.tls.cert", "nats.embedded.tls.key"}

// values are settings by their paths, secrets and the content of files
// included, as texts to compare. They are shown to nobody.
type values map[string]string

// values returns what a reload compares.
func (c *Config) values() values {
	all := values{}
	all.add(reflect.ValueOf(c).Elem(), "", c.seen)
	for _, s := range c.Sources {
		path := join("sources", s.Name)
		all[join(path, platformKey)] = s.Platform.Name
		all.add(reflect.ValueOf(s.Settings).Elem(), path, c.seen)
	}
	return all
}

func (all values) add(v reflect.Value, path string, files seen) {
	each(v, path, field{}, func(v reflect.Value, path string, _ field) bool {
		followed := slices.Contains(following, path)
		switch x := v.Interface().(type) {
		case handlers.Secret:
			all[path] = x.File + "\x00" + x.Env
			if !followed {
				all[path] += "\x00" + x.Value()
			}
		case handlers.File:
			all[path] = x.Path
			for _, c := range x.Contents {
				all[path] += "\x00" + c.Path + "\x00" + string(c.Data)
			}
		case Path:
			all[path] = string(x)
			if x != "" && !followed {
				all[path] += "\x00" + files.content(string(x))
			}
		default:
			if isScalar(v.Type()) {
				all[path] = fmt.Sprint(v.Interface())
			}
		}
		return true
	})
}

// below returns the values that are at or below a path.
func (all values) below(path string) values {
	some := values{}
	for p, value := range all {
		if within(p, path) {
			some[p] = value
		}
	}
	return some
}

// different lists the settings that differ, sorted. One that only one side has
// is told by what it is in: what is there or not is that.
func (all values) different(others values) []string {
	var paths []string
	for _, pair := range [][2]values{{all, others}, {others, all}} {
		for path, value := range pair[0] {
			other, both := pair[1][path]
			switch {
			case !both:
				paths = append(paths, parent(path))
			case other != value:
				paths = append(paths, path)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// awaiting lists the settings of next that are not those of started and that
// only a restart applies.
func awaiting(started, next *Config) []string {
	var settings []string
	for _, path := range started.values().different(next.values()) {
		if !slices.ContainsFunc(reloadable, func(r string) bool { return within(path, r) }) {
			settings = append(settings, whole(path))
		}
	}
	slices.Sort(settings)
	return slices.Compact(settings)
}

// whole returns the list that a path goes into, or else the path.
func whole(path string) string {
	path, _, _ = strings.Cut(path, "[")
	return path
}

// changes lists what a reload from old to next makes different. What waits for
// a restart is not among it.
func changes(old, next *Config, waiting []string) []ops.Change {
	before, after := old.values(), next.values()
	how := map[string]string{}
	for _, path := range before.different(after) {
		setting := whole(path)
		if keys := strings.SplitN(path, ".", 3); keys[0] == "sources" {
			if len(keys) == 1 {
				continue // a source that comes or goes has other paths too
			}
			setting = join(keys[0], keys[1])
		} else if strings.Contains(path, ".tls.") {
			setting = parent(path)
		}
		if !slices.ContainsFunc(reloadable, func(r string) bool { return within(path, r) }) || slices.Contains(waiting, setting) {
			continue
		}
		how[setting] = "changed"
		if strings.HasPrefix(setting, "sources.") {
			how[setting] = comeOrGone(len(before.below(setting)), len(after.below(setting)))
		}
	}
	list := make([]ops.Change, 0, len(how))
	for _, setting := range slices.Sorted(maps.Keys(how)) {
		list = append(list, ops.Change{Setting: setting, How: how[setting]})
	}
	return list
}

func comeOrGone(before, after int) string {
	switch {
	case before == 0:
		return "added"
	case after == 0:
		return "removed"
	default:
		return "changed"
	}
}

// callers are the settings that say who a caller is. They wait for a restart.
var callers = []string{"ingress.client_ip", "ingress.trusted_proxies"}

// halfApplied reports whether next says otherwise who a caller is and who may
// call. The second applied without the first would refuse those who may call
// before and after it, and what is refused with 403 doesn't come again. It
// returns the setting that waits and the one that must wait with it, or "".
func halfApplied(started, old, next *Config) (waits, with string) {
	for _, setting := range awaiting(started, next) {
		if slices.Contains(callers, setting) {
			waits = setting
			break
		}
	}
	if waits == "" {
		return "", ""
	}
	allowed := map[string][]netip.Prefix{}
	for _, s := range old.Sources {
		if s.Opened.Push != nil {
			allowed[s.Name] = s.Opened.Push.Allow
		}
	}
	for _, s := range next.Sources {
		if s.Opened.Push != nil && !slices.Equal(s.Opened.Push.Allow, allowed[s.Name]) {
			return waits, join(join("sources", s.Name), "push.allow")
		}
	}
	return "", ""
}

// keepUnchanged lets next keep the sources of old that say the same: what they
// have learned meanwhile stays.
func keepUnchanged(old, next *Config) {
	before, after := old.values(), next.values()
	if !maps.Equal(before.below("outbound"), after.below("outbound")) {
		return
	}
	for _, s := range next.Sources {
		for _, known := range old.Sources {
			path := join("sources", s.Name)
			if known.Name == s.Name && maps.Equal(before.below(path), after.below(path)) {
				s.Opened = known.Opened
			}
		}
	}
}
