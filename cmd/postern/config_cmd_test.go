package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// real runs a command line with the platforms of this version.
func real(t *testing.T, args ...string) (code int, stdout string) {
	t.Helper()
	var out, err writer
	code = run(t.Context(), args, strings.NewReader(""), &out, &err, nil)
	if code == exitOK && len(err) > 0 {
		t.Errorf("all is well, and yet it says %s", err)
	}
	return code, string(out)
}

// The file that `config init` writes lacks nothing but the files that it names.
func TestInitIsAGoodBeginning(t *testing.T) {
	code, file := real(t, "config", "init")
	if code != exitOK {
		t.Fatalf("exit %d", code)
	}
	t.Chdir(t.TempDir())
	write(t, "postern.yaml", file)
	code, out := real(t, "config", "check", "-c", "postern.yaml")
	if code != exitConfig {
		t.Errorf("exit %d although files are missing", code)
	}
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(line, ", which does not exist\n") {
			t.Errorf("more than a missing file is wrong: %s", line)
		}
	}
	_, schema := real(t, "config", "schema")
	if wrong := judgement(t, schema, file); len(wrong) > 0 {
		t.Errorf("its schema refuses it:\n%s", strings.Join(wrong, "\n"))
	}
}

// What the file of `config init` has commented out can be used.
func TestInitCommentsAreSettings(t *testing.T) {
	var file strings.Builder
	for line := range strings.Lines(initFile) {
		indent, comment, ok := strings.Cut(line, "# ")
		if ok && strings.TrimSpace(indent) == "" && settingLine.MatchString(strings.TrimRight(comment, "\n")) {
			line = indent + comment
		}
		file.WriteString(line)
	}
	t.Chdir(t.TempDir())
	write(t, "postern.yaml", file.String())
	_, err := loadConfig([]string{"postern.yaml"}, nil, platforms())
	for line := range strings.Lines(everything(nil, err)) {
		if strings.Contains(line, "is not a key") || strings.Contains(line, "YAML") || strings.Contains(line, " must be ") {
			t.Errorf("a comment is no setting: %s", line)
		}
	}
	if !strings.Contains(file.String(), "\nseal: {keys") {
		t.Error("nothing was uncommented")
	}
}

// settingLine matches a comment that is a setting and not a sentence.
var settingLine = regexp.MustCompile(`^ *(- \{|[a-z_]+:( |$))`)

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.yaml", "sources: {a: {platform: other}}")
	write(t, "two.yaml", "insecure: true\nsources: {a: {platform: other}, b: {platform: other}}")
	write(t, "bad.yaml", "insecure: 1\nlog: {levl: info}\noutbound: {proxy: 'ftp://a'}\n")
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"good", []string{"-c", "good.yaml"}, exitOK, "ok: 1 source\n", ""},
		{
			"warning",
			[]string{"-c", "two.yaml"},
			exitOK,
			"two.yaml:1:11: warning: insecure is true: settings are allowed that let anybody push\nok: 2 sources\n", "",
		},
		{
			"bad",
			[]string{"-c", "bad.yaml"},
			exitConfig,
			"bad.yaml:1:11: insecure must be true or false\n" +
				"bad.yaml:2:7: log.levl is not a key; did you mean \"level\"?\n" +
				"bad.yaml:3:19: outbound.proxy must be http://HOST:PORT or https://HOST:PORT, without a user\n",
			"postern: 3 problems, 0 warnings: correct them, then check again\n",
		},
		{
			"gone",
			[]string{"-c", "gone.yaml"},
			exitConfig,
			"gone.yaml: does not exist\n",
			"postern: 1 problem, 0 warnings: correct them, then check again\n",
		},
		{"none", nil, exitUsage, "", "postern: there is no configuration\n" +
			"next: name it with -c FILE; `postern config init > postern.yaml` makes one to begin with\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, nil, append([]string{"config", "check"}, tt.args...)...)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff([]string{tt.stdout, tt.stderr}, []string{stdout, stderr}); diff != "" {
				t.Errorf("output differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShowOfABadConfigurationSaysWhatIsWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bad.yaml", "insecure: 1\n")
	code, stdout, stderr := command(t, nil, "config", "show", "-c", "bad.yaml")
	want := "bad.yaml:1:11: insecure must be true or false\n" +
		"postern: the configuration has 1 problem: correct them, then run `postern config check`\n"
	if code != exitConfig || stdout != "" || stderr != want {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // in stderr
	}{
		{"", "postern needs a command"},
		{"confg", "did you mean `postern config`?"},
		{"config", "postern config needs a command: check, init, schema or show"},
		{"config chek", "did you mean `postern config check`?"},
		{"config nonsense", "see `postern config --help`"},
		{"config check --nonsense", "see `postern config check --help`"},
		{"config check -c", "see `postern config check --help`"},
		{"config check file.yaml", "see `postern config check --help`"},
		{"version -o yaml", "use -o text or -o json"},
	} {
		code, stdout, stderr := command(t, nil, strings.Fields(tt.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("postern %s: exit %d, stdout %q, stderr %q", tt.args, code, stdout, stderr)
		}
	}
}

// Every command explains itself, with an example, on stdout.
func TestHelp(t *testing.T) {
	root := newRoot(&process{stdout: io.Discard, stderr: io.Discard, platforms: fakes()})
	for _, cmd := range append(root.Commands(), root) {
		for _, cmd := range append(cmd.Commands(), cmd) {
			if cmd.Example == "" || cmd.Long == "" || cmd.Short == "" {
				t.Errorf("%s lacks an example or a description", cmd.CommandPath())
			}
			args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
			code, stdout, stderr := command(t, nil, args...)
			if code != exitOK || stderr != "" || !strings.Contains(stdout, "Examples:") {
				t.Errorf("%v: exit %d, stderr %q, stdout %q", args, code, stderr, stdout)
			}
		}
	}
}
