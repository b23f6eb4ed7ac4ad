package handlers

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Secret is a setting that nothing may print. The configuration names where it
// is: a file or an environment variable, never the value.
type Secret struct {
	File string `yaml:"file" validate:"required_without=Env,excluded_with=Env"`
	Env  string `yaml:"env" validate:"required_without=File"`

	// A pointer: fmt calls no methods on a secret in somebody's unexported
	// field, but prints what it holds, and then that is an address.
	value *string
}

// NewSecret returns a secret with a value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Value returns the secret itself, "" if it has none.
func (s Secret) Value() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// WithValue returns s with its value, as read from where s says.
func (s Secret) WithValue(value string) Secret {
	s.value = &value
	return s
}

const redacted = "[redacted]"

// String hides the value, as do the methods below it.
func (Secret) String() string { return redacted }

// Format implements fmt.Formatter, for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// File is a setting that names a file or a folder. Who loads the
// configuration reads it.
type File struct {
	Path     string
	Contents []Contents
}

// Contents is what was read of a file, or of each file of a folder.
type Contents struct {
	Path string
	Data []byte
}

// UnmarshalText reads the path.
func (f *File) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("must name a file or a folder")
	}
	f.Path = string(text)
	return nil
}

// MarshalText writes the path.
func (f File) MarshalText() ([]byte, error) { return []byte(f.Path), nil }

// Prefix is a setting that is an address or a CIDR.
type Prefix struct{ netip.Prefix }

// UnmarshalText reads an address or a CIDR. It refuses zones, and writes IPv4
// addresses that are mapped into IPv6 as IPv4.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return errors.New(`must be an address or a CIDR, like "203.0.113.10" or "203.0.113.0/24"`)
		}
		addr = addr.Unmap()
		p.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return errors.New(`must be an address or a CIDR, like "203.0.113.10" or "203.0.113.0/24"`)
	}
	if prefix.Addr().Is4In6() {
		return errors.New("must be written as an IPv4 CIDR")
	}
	if prefix.Masked() != prefix {
		return fmt.Errorf("has bits set behind its mask; did you mean %s?", prefix.Masked())
	}
	p.Prefix = prefix
	return nil
}

// Duration is a setting like "90s", "10m" or "30d".
type Duration time.Duration

// UnmarshalText reads a Go duration, or a whole number of days with the unit d.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return errors.New(`must be a duration like "90s", "10m" or "30d"`)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return errors.New(`must be a duration like "90s", "10m" or "30d"`)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes whole days with the unit d.
func (d Duration) MarshalText() ([]byte, error) {
	const day = 24 * time.Hour
	if v := time.Duration(d); v != 0 && v%day == 0 {
		return fmt.Appendf(nil, "%dd", v/day), nil
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return []byte(s), nil
}

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Size is a setting like "1MiB" or "10GiB", in bytes.
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// UnmarshalText reads a whole number with a unit.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return errors.New(`must be a size like "512KiB", "1MiB" or "10GiB"`)
}

// MarshalText writes the largest binary unit that fits.
func (s Size) MarshalText() ([]byte, error) {
	for i := 3; i >= 0; i-- {
		if u := units[i]; s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Appendf(nil, "%d%s", int64(s)/u.bytes, u.suffix), nil
		}
	}
	return fmt.Appendf(nil, "%dB", int64(s)), nil
}
