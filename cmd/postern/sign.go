package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// maxEntry is the most that is read of an entry or an envelope.
const maxEntry = 4 << 20

// signFlags are the flags of `postern sign`.
type signFlags struct {
	key, newKey        string
	topic, typ         string
	subject            string
	version            string
	messageID, sent    string
	certificateAddress string
}

func signCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign --key FILE --topic ARN [ENTRY|-]",
		Short: "Signs an SNS envelope around an entry, for tests",
		Long: `Reads an entry from a file or from stdin and prints the envelope that Amazon SNS
would post, signed with a key of yours. It needs no configuration and no
network. With a confirmation as --type no entry is read.

--new-key makes such a key, and beside it, with the ending .crt, a certificate
that is good for a year. A receiver believes the key only while its
configuration pins that certificate: do so in tests, and nowhere else.`,
		Example: `  postern sign --new-key test.key
  echo '{"transaction":{"processId":"p1","status":"success"}}' |
    postern sign --key test.key --topic arn:aws:sns:us-east-1:000000000000:test > envelope.json
  postern verify -c postern.yaml --source corastone envelope.json`,
		Args: cobra.MaximumNArgs(1),
	}
	var f signFlags
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "PEM `file` with the RSA key to sign with")
	flags.StringVar(&f.newKey, "new-key", "", "make a key in this `file`, and a certificate beside it, and end")
	flags.StringVar(&f.topic, "topic", "", "`ARN` of the topic")
	flags.StringVar(&f.typ, "type", corastonetest.TypeNotification, "Notification, SubscriptionConfirmation or UnsubscribeConfirmation")
	flags.StringVar(&f.subject, "subject", "", "Subject (default: none)")
	flags.StringVar(&f.version, "signature-version", "1", "1 (SHA-1) or 2 (SHA-256)")
	flags.StringVar(&f.messageID, "message-id", "", "MessageId (default: a new one)")
	flags.StringVar(&f.sent, "timestamp", "", "Timestamp, as it is to stand there (default: now)")
	flags.StringVar(&f.certificateAddress, "cert-url", "", "SigningCertURL (default: blank)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if f.newKey != "" {
			return p.newSigningKey(f.newKey)
		}
		envelope, err := f.envelope(p, args)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%s\n", envelope.Body())
		return err
	}
	return cmd
}

// envelope returns what the flags ask for, signed.
func (f signFlags) envelope(p *process, args []string) (corastonetest.Envelope, error) {
	var none corastonetest.Envelope
	if f.topic == "" {
		return none, failf(exitUsage, "name it with --topic ARN", "an envelope needs a topic")
	}
	signer, err := readSigner(f.key)
	if err != nil {
		return none, err
	}
	node := corastonetest.NewNode(signer, f.topic, rand.Uint64())
	var e corastonetest.Envelope
	switch f.typ {
	case corastonetest.TypeNotification:
		entry, err := p.input(args)
		if err != nil {
			return none, err
		}
		e = node.Notification(corastonetest.Text(entry))
	case corastonetest.TypeSubscriptionConfirmation, corastonetest.TypeUnsubscribeConfirmation:
		e = node.Confirmation(f.typ)
	default:
		return none, failf(exitUsage, "use Notification, SubscriptionConfirmation or UnsubscribeConfirmation", "SNS knows no type %q", f.typ)
	}
	e.SignatureVersion, e.SigningCertURL = f.version, f.certificateAddress
	if f.subject != "" {
		e.Subject = &f.subject
	}
	if f.messageID != "" {
		e.MessageID = f.messageID
	}
	if f.sent != "" {
		e.Timestamp = f.sent
	}
	if f.version != "1" && f.version != "2" {
		return none, failf(exitUsage, "use 1 or 2", "SNS knows no signature version %q", f.version)
	}
	return signer.Sign(e)
}

// readSigner reads the key that --key names.
func readSigner(file string) (*corastonetest.Signer, error) {
	const next = "make one with `postern sign --new-key FILE`"
	if file == "" {
		return nil, failf(exitUsage, "name it with --key FILE; "+next, "there is no key to sign with")
	}
	data, err := readLimited(file, maxSecretFile)
	if err != nil {
		return nil, failf(exitUsage, next, "--key %s %s", file, unreadable(err))
	}
	signer, err := corastonetest.ReadSigner(data)
	if err != nil {
		return nil, failf(exitUsage, next, "--key %s %w", file, err)
	}
	return signer, nil
}

// newSigningKey makes a key and its certificate. It replaces no file.
func (p *process) newSigningKey(file string) error {
	certificate := strings.TrimSuffix(file, filepath.Ext(file)) + ".crt"
	if certificate == file {
		return failf(exitUsage, "choose another ending, like .key", "the certificate's file will end in .crt")
	}
	signer, err := corastonetest.NewSigner()
	if err != nil {
		return err
	}
	key, err := signer.Key()
	if err != nil {
		return err
	}
	for _, made := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{{file, key, 0o600}, {certificate, signer.Certificate(), 0o644}} {
		if err := writeNew(made.name, made.data, made.mode); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stderr, `Made the key %[1]s and its certificate %[2]s.

A receiver believes this key if a source pins the certificate:

  signature: pinned
  certificates: [%[2]s]

Who has the key can make such a receiver believe anything: use it in tests only.
`, file, certificate)
	return nil
}

// writeNew makes a file that isn't there yet.
func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return failf(exitFailed, "choose another name, or remove it", "%s is there already", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// input reads the file that args name, or stdin.
func (p *process) input(args []string) ([]byte, error) {
	if len(args) == 0 || args[0] == "-" {
		data, err := io.ReadAll(io.LimitReader(p.stdin, maxEntry+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read stdin: %w", err)
		case len(data) == 0:
			return nil, failf(exitUsage, "name a file, or write to stdin", "stdin is empty")
		case len(data) > maxEntry:
			return nil, failf(exitUsage, "", "stdin has more than %d bytes", maxEntry)
		}
		return data, nil
	}
	data, err := readLimited(args[0], maxEntry)
	if err != nil {
		return nil, failf(exitUsage, "", "%s %s", args[0], unreadable(err))
	}
	return data, nil
}
