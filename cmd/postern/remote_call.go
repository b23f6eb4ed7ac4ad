package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// usualOps is where a postern is asked if nothing says where it listens.
const usualOps = "http://127.0.0.1:8081"

// remote is a running postern, as seen by a command.
type remote struct {
	ops       string // "": where the configuration says
	tokenFile string
	paths     *[]string
	cfg       *Config // that paths name, once it is needed
}

// remoteFlags adds the flags of commands that talk to a running postern.
func remoteFlags(cmd *cobra.Command) *remote {
	r := &remote{paths: configFlag(cmd)}
	cmd.Flags().StringVar(&r.ops, "ops", "", "`URL` of the running postern's ops listener (default: ops.listen of the configuration that -c names, else "+usualOps+")")
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "`file` with a token (default: ops.token in the data_dir of the configuration that -c names)")
	return r
}

// config returns the configuration that -c names; nil if it names none.
func (r *remote) config(p *process) (*Config, error) {
	if r.cfg != nil || len(*r.paths) == 0 {
		return r.cfg, nil
	}
	cfg, err := p.load(*r.paths)
	r.cfg = cfg
	return cfg, err
}

// address returns where the running postern is, and how to know it: by the
// certificate that the configuration names, unless --ops says where it is.
func (r *remote) address(p *process) (base string, trust *tls.Config, err error) {
	if r.ops != "" {
		return strings.TrimSuffix(r.ops, "/"), nil, nil
	}
	cfg, err := r.config(p)
	if cfg == nil || err != nil {
		return usualOps, nil, err
	}
	if _, port, err := net.SplitHostPort(cfg.Ops.Listen); err == nil && port == "0" {
		return "", nil, failf(exitUnavailable, "name its address with --ops; the receiver's log has it", "ops.listen lets the system choose the port")
	}
	return reach(cfg.Ops.Listen, cfg.Ops.TLS)
}

// send asks the running postern, on a connection of its own, and waits so long
// for its answer to begin, 0 as long as ctx does. Its errors say what to do
// next. The caller closes the answer's body.
func (r *remote) send(ctx context.Context, p *process, method, path string, wait time.Duration) (*http.Response, error) {
	base, trust, err := r.address(p)
	if err != nil {
		return nil, err
	}
	token, err := r.token(p)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, failf(exitUsage, "write it like "+usualOps, "--ops is no URL")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{ // and no proxy
		TLSClientConfig: trust, DisableKeepAlives: true, ResponseHeaderTimeout: wait,
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, failf(exitUnavailable, "start it with `postern serve`, or name another with --ops", "no postern answers at %s: %w", base, errors.Unwrap(err))
	}
	return res, nil
}

// streamWait is how long a stream may take to begin.
const streamWait = 10 * time.Second

// get returns the body of an answer that may go on for ever.
func (r *remote) get(ctx context.Context, p *process, path string) (io.ReadCloser, error) {
	res, err := r.send(ctx, p, http.MethodGet, path, streamWait)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	return nil, refused(res)
}

// readAnswer reads the body of an answer.
func readAnswer(res *http.Response, answer any) error {
	if err := json.UnmarshalRead(res.Body, answer); err != nil {
		return failf(exitFailed, "check that --ops leads to a postern of this version", "the answer can't be read")
	}
	return nil
}

// refused turns an answer that is not 200 into an error.
func refused(res *http.Response) error {
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	text := res.Status
	if body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10)); err == nil && json.Unmarshal(body, &problem) == nil && problem.Title != "" {
		text = strings.TrimSuffix(problem.Title+": "+problem.Detail, ": ")
	}
	switch res.StatusCode {
	case http.StatusBadRequest:
		return failf(exitUsage, "see --help", "%s", text)
	case http.StatusUnauthorized, http.StatusForbidden:
		return failf(exitNotAllowed, "name a token with --token-file, or the configuration with -c", "%s", text)
	case http.StatusNotFound:
		return failf(exitNotFound, "check that --ops leads to the ops listener of a postern", "%s", text)
	default:
		return failf(exitUnavailable, "try again in a moment", "%s", text)
	}
}

// token returns the token to show, or "" if none is named: reading is free on
// loopback.
func (r *remote) token(p *process) (string, error) {
	file := r.tokenFile
	if file == "" {
		cfg, err := r.config(p)
		if cfg == nil || err != nil {
			return "", err
		}
		file = filepath.Join(string(cfg.DataDir), opsTokenFile)
	}
	token, err := os.ReadFile(file)
	if err != nil {
		return "", failf(exitNotAllowed, "name another with --token-file, or run as the user of the receiver", "the token can't be read: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}
