package bus

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"

	"github.com/seed75441868/postern/schemas"
)

// User may connect to the embedded server and read.
type User struct {
	Name     string
	Password string // at most 72 bytes; a bcrypt hash ("$2a$…") is taken as one
	Allow    Allow
}

// Allow says which streams a user may read. Nobody may write.
type Allow string

// What users may read.
const (
	AllowEvents     Allow = "events"     // POSTERN_EVENTS
	AllowRestricted Allow = "restricted" // that and POSTERN_RESTRICTED
	AllowAll        Allow = "all"        // every stream
)

func (a Allow) streams() []schemas.Stream {
	switch a {
	case AllowEvents:
		return []schemas.Stream{schemas.StreamEvents}
	case AllowRestricted:
		return []schemas.Stream{schemas.StreamEvents, schemas.StreamRestricted}
	case AllowAll:
		return schemas.Streams()
	}
	return nil
}

// ownAccount has the streams; nobody but us is in it. Readers have accounts of
// their own: in one account everybody could have the server put messages onto any
// subject, by naming it as the reply of a request or as the deliver subject of
// a consumer, and everybody could listen to everybody's inbox.
const ownAccount = "POSTERN"

// reader is somebody else who may connect, with an account of its own.
type reader struct {
	user    string // "" for the guest
	secret  string // bcrypt
	account string
	streams []schemas.Stream
}

// in is where the reader's requests arrive in our account.
func (r reader) in() string { return "_gate." + r.account + ".in" }

// out is what leads from our account to the reader's inboxes, and nowhere else.
func (r reader) out() string { return "_gate." + r.account + ".out" }

// info is nowhere. The server answers every JetStream request of an account that
// has no JetStream itself, unless the account imports this one request.
func (r reader) info() string { return "_gate." + r.account + ".info" }

// requests are the subjects that readers send requests and acknowledgements to.
var requests = []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>"}

// readers returns who else may connect: nobody if there is no listener, the
// users, and at a loopback address a guest who needs no password.
func (e Embedded) readers() ([]reader, error) {
	if e.Listen == "" {
		return nil, nil
	}
	host, _, err := listenAddress(e.Listen)
	if err != nil {
		return nil, err
	}
	var readers []reader
	if isLoopback(host) {
		readers = append(readers, reader{account: "GUEST", streams: AllowEvents.streams()})
	} else if e.TLS == nil || len(e.Users) == 0 {
		return nil, errors.New("the embedded NATS needs tls and users to listen at an address that is not a loopback address")
	}
	for i, u := range e.Users {
		switch {
		case u.Name == "" || u.Password == "":
			return nil, fmt.Errorf("user %d of the embedded NATS needs a name and a password", i+1)
		case slices.ContainsFunc(readers, func(r reader) bool { return r.user == u.Name }):
			return nil, fmt.Errorf("user %d of the embedded NATS has the name of another", i+1)
		case u.Allow.streams() == nil:
			return nil, fmt.Errorf("user %d of the embedded NATS must be allowed events, restricted or all", i+1)
		}
		secret, err := hashed(u.Password)
		if err != nil {
			return nil, fmt.Errorf("password of user %d of the embedded NATS: %w", i+1, err)
		}
		readers = append(readers, reader{
			user: u.Name, secret: secret, account: fmt.Sprintf("READER_%d", i+1), streams: u.Allow.streams(),
		})
	}
	return readers, nil
}

// hashed keeps passwords out of the server's options, which it complains about
// otherwise. The cost is the lowest: the hash never leaves this process.
func hashed(password string) (string, error) {
	if strings.HasPrefix(password, "$2a$") {
		return password, nil
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	return string(h), err
}

func listenAddress(s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, errors.New(`the address of the embedded NATS must look like "127.0.0.1:4222"`)
	}
	if host == "localhost" { // whatever the resolver may think that is
		host = "127.0.0.1"
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// accountsConfig describes the accounts in the server's configuration language.
// Names in it are ours, so that nothing needs quoting.
//
// Requests of a reader reach our account below [reader.in], where the gate
// judges them. What the server answers goes to [reader.out] and from there to
// the reader's inboxes. Both are stream imports: those keep reply subjects and
// need no memory for each request.
func accountsConfig(readers []reader) string {
	var exports, imports, accounts strings.Builder
	for _, s := range schemas.Streams() {
		var allowed []string
		for _, r := range readers {
			if slices.Contains(r.streams, s) {
				allowed = append(allowed, r.account)
			}
		}
		if allowed != nil {
			fmt.Fprintf(&exports, "{stream: %q, accounts: [%s]}\n", s.Prefix()+".>", strings.Join(allowed, ", "))
		}
	}
	for _, r := range readers {
		fmt.Fprintf(&exports, "{stream: %q, accounts: [%s]}\n", r.out()+"._INBOX.>", r.account)
		fmt.Fprintf(&exports, "{service: %q, accounts: [%s]}\n", r.info(), r.account)
		fmt.Fprintf(&accounts, "%s: {\nexports: [\n", r.account)
		for _, subject := range requests {
			fmt.Fprintf(&accounts, "{stream: %q, accounts: [%s]}\n", subject, ownAccount)
			fmt.Fprintf(&imports, "{stream: {account: %s, subject: %q}, prefix: %q}\n", r.account, subject, r.in())
		}
		accounts.WriteString("]\nimports: [\n")
		for _, s := range r.streams {
			fmt.Fprintf(&accounts, "{stream: {account: %s, subject: %q}}\n", ownAccount, s.Prefix()+".>")
		}
		fmt.Fprintf(&accounts, "{stream: {account: %s, subject: %q}, to: %q}\n", ownAccount, r.out()+"._INBOX.>", "_INBOX.>")
		fmt.Fprintf(&accounts, "{service: {account: %s, subject: %q}, to: %q}\n]\n}\n", ownAccount, r.info(), "$JS.API.INFO")
	}
	return fmt.Sprintf("accounts: {\n%s: {\njetstream: enabled\nexports: [\n%s]\nimports: [\n%s]\n}\n%s}\n",
		ownAccount, exports.String(), imports.String(), accounts.String())
}

// addUsers gives each account its user. Ours has a key that never leaves this
// process, and may only connect from within it. What readers may publish is
// listed here although the gate judges it too: the server then says so to who
// isn't allowed.
func addUsers(opts *server.Options, own nkeys.KeyPair, readers []reader) error {
	account := func(name string) *server.Account {
		i := slices.IndexFunc(opts.Accounts, func(a *server.Account) bool { return a.Name == name })
		return opts.Accounts[i]
	}
	public, err := own.PublicKey()
	if err != nil {
		return err
	}
	opts.Nkeys = []*server.NkeyUser{{
		Nkey: public, Account: account(ownAccount),
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	}}
	outside := map[string]struct{}{jwt.ConnectionTypeStandard: {}}
	for _, r := range readers {
		permissions := &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: r.mayPublish()},
			Subscribe: &server.SubjectPermission{Allow: r.maySubscribe()},
		}
		if r.user != "" {
			opts.Users = append(opts.Users, &server.User{
				Username: r.user, Password: r.secret, Account: account(r.account),
				Permissions: permissions, AllowedConnectionTypes: outside,
			})
			continue
		}
		// Who comes without a name is taken for the guest. Of all users only
		// one with a key needs no password for that; nobody has the key.
		guest, err := nkeys.CreateUser()
		if err != nil {
			return err
		}
		if opts.NoAuthUser, err = guest.PublicKey(); err != nil {
			return err
		}
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{
			Nkey: opts.NoAuthUser, Account: account(r.account),
			Permissions: permissions, AllowedConnectionTypes: outside,
		})
	}
	return nil
}

func (r reader) mayPublish() []string {
	subjects := []string{"$JS.API.STREAM.NAMES", "$JS.API.INFO"}
	for _, s := range r.streams {
		for _, api := range []string{
			"STREAM.INFO.%s", "STREAM.MSG.GET.%s", "DIRECT.GET.%s", "DIRECT.GET.%s.>",
			"CONSUMER.CREATE.%s", "CONSUMER.CREATE.%s.>", "CONSUMER.DURABLE.CREATE.%s.*",
			"CONSUMER.INFO.%s.*", "CONSUMER.DELETE.%s.*", "CONSUMER.MSG.NEXT.%s.*",
		} {
			subjects = append(subjects, "$JS.API."+fmt.Sprintf(api, s))
		}
		subjects = append(subjects, fmt.Sprintf("$JS.ACK.%s.>", s), fmt.Sprintf("$JS.FC.%s.>", s))
	}
	return subjects
}

func (r reader) maySubscribe() []string {
	subjects := []string{"_INBOX.>"}
	for _, s := range r.streams {
		subjects = append(subjects, s.Prefix()+".>")
	}
	return subjects
}
