package handlers

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// BaseURL returns the URL at which an API is, as a setting gives it, without a
// slash at its end: paths are added to it. It must be https, as credentials go
// there; http is for this machine. The error begins with the setting's name and
// shows how such a URL looks.
func BaseURL(setting, text, example string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("%s must be a URL, like %s", setting, example)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New(setting + " must have no user, query or fragment in it")
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return "", fmt.Errorf("%s must begin with https://, like %s: credentials travel there; http:// is for this machine only", setting, example)
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

func onThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
