package bus

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/seed75441868/postern/schemas"
)

// subjects returns the subjects that the server is to look for.
func (o TailOptions) subjects() ([]string, error) {
	if len(o.Subjects) > 0 {
		if o.Source != "" || o.Type != "" || o.Key != "" {
			return nil, errors.New("subjects can't be combined with source, type and key")
		}
		return slices.Clone(o.Subjects), nil
	}
	if o.Source == "" && o.Type == "" && o.Key == "" {
		return []string{o.Stream.Prefix() + ".>"}, nil
	}
	if o.Source != "" && !schemas.SourceName.MatchString(o.Source) {
		return nil, errors.New("the source is not a valid name")
	}
	middles, keyed, err := o.middles()
	if err != nil {
		return nil, err
	}
	if o.Key != "" && !keyed {
		return nil, fmt.Errorf("messages of %s have no key", o.Stream)
	}
	subjects := make([]string, 0, len(middles))
	for _, middle := range middles {
		tokens := []string{o.Stream.Prefix(), cmp.Or(o.Source, "*")}
		if middle != "" {
			tokens = append(tokens, middle)
		}
		if keyed {
			tokens = append(tokens, o.keyToken())
		}
		subjects = append(subjects, strings.Join(tokens, "."))
	}
	return subjects, nil
}

// middles returns what stands between the source and the key in the subjects to
// look for, and whether there is a key.
func (o TailOptions) middles() (middles []string, keyed bool, err error) {
	switch o.Stream {
	case schemas.StreamEvents, schemas.StreamRestricted: // <source>.<entity>.<event>.<key>
		middles, err = expand(cmp.Or(o.Type, "*.*"), 2, types())
		return middles, true, err
	case schemas.StreamOps: // <source>.<event>, of types "platform.<event>"
		middles, err = expand(strings.TrimPrefix(cmp.Or(o.Type, "*"), "platform."), 1, platformEvents())
		return middles, false, err
	case schemas.StreamQuarantine: // <source>.<reason>
		middles, err = expand(cmp.Or(o.Type, "*"), 1, reasons())
		return middles, false, err
	case schemas.StreamRaw, schemas.StreamRejected: // <source>
		if o.Type == "" {
			return []string{""}, false, nil
		}
	}
	return nil, false, fmt.Errorf("messages of %s can't be chosen that way", o.Stream)
}

// expand returns the names that a pattern stands for. The server understands
// patterns of whole tokens, also for names that aren't in the vocabulary; any
// other is compared with the vocabulary.
func expand(pattern string, tokens int, vocabulary []string) ([]string, error) {
	parts := strings.Split(pattern, ".")
	whole := !slices.ContainsFunc(parts, func(p string) bool { return p != "*" && !madeOf(p, "_=-") })
	if whole && len(parts) == tokens {
		return []string{pattern}, nil
	}
	var names []string
	for _, name := range vocabulary {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, errors.New("the type is not a valid pattern")
		}
		if ok {
			names = append(names, name)
		}
	}
	if names == nil {
		return nil, errors.New("no type is like that")
	}
	return names, nil
}

func types() []string {
	var names []string
	for _, d := range schemas.Definitions() {
		if d.Type.Stream() == schemas.StreamEvents {
			names = append(names, string(d.Type))
		}
	}
	return names
}

func platformEvents() []string {
	var names []string
	for _, d := range schemas.Definitions() {
		if d.Type.Stream() == schemas.StreamOps {
			names = append(names, d.Type.Event())
		}
	}
	return names
}

func reasons() []string {
	var names []string
	for _, r := range schemas.Reasons() {
		names = append(names, string(r))
	}
	return names
}

// keyToken returns what stands for the key in a subject. What looks like such
// a token is taken for one: nobody can know what it was made of.
func (o TailOptions) keyToken() string {
	if o.Key == "" {
		return "*"
	}
	if len(o.Key) == 23 && o.Key[0] == '=' && madeOf(o.Key, "_=-") {
		return o.Key
	}
	return schemas.Token(o.Key)
}
