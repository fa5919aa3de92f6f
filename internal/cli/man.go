package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Man is a command that prints the man page.
type Man struct{}

// Run prints the page.
func (Man) Run(k *kong.Context) error { return WriteMan(k.Stdout, k.Model) }

// WriteMan writes a man page of section 1, with every command and every flag, in the macros of man(7).
func WriteMan(w io.Writer, app *kong.Application) error {
	p := &page{}
	name := strings.ToUpper(app.Name)
	p.line(".TH %s 1", name)
	p.line(".ad l")
	p.line(".SH NAME")
	p.line(`%s \- %s`, roff(app.Name), roff(strings.TrimSuffix(app.Help, ".")))
	p.line(".SH SYNOPSIS")
	p.line(".B %s", roff(app.Name))
	p.line(`[\fICOMMAND\fR] [\fIFLAGS\fR]`)
	p.line(".SH COMMANDS")
	for _, n := range app.Children {
		if !n.Hidden {
			p.line(".TP")
			p.line(`\fB%s\fR%s%s`, roff(n.Name), arguments(n), defaultMark(app, n))
			p.text(n.Help)
		}
	}
	p.flags("FLAGS OF ALL COMMANDS", app.Flags)
	for _, n := range app.Children {
		if !n.Hidden {
			p.flags("FLAGS OF "+strings.ToUpper(n.Name), n.Flags)
		}
	}
	_, err := io.WriteString(w, p.String())
	return err
}

type page struct{ strings.Builder }

// line writes a line; what of it is text has been through roff.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text writes a paragraph.
func (p *page) text(s string) {
	s = roff(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") { // it would be a request
		s = `\&` + s
	}
	p.line("%s", s)
}

func (p *page) flags(title string, flags []*kong.Flag) {
	first := true
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		if first {
			p.line(`.SH "%s"`, roff(title))
			first = false
		}
		p.flag(f)
	}
}

func (p *page) flag(f *kong.Flag) {
	p.line(".TP")
	switch {
	case f.Tag.Negatable != "":
		p.line(`\fB%s\fR, \fB%s\fR`, roff("--"+f.Name), roff("--no-"+f.Name))
	case f.IsBool():
		p.line(`\fB%s\fR`, roff("--"+f.Name))
	default:
		p.line(`\fB%s\fR=\fI%s\fR`, roff("--"+f.Name), roff(f.FormatPlaceHolder()))
	}
	help := f.Help
	if f.HasDefault && !f.IsBool() && !strings.Contains(help, "Default:") {
		help += " Default: " + f.Default + "."
	}
	if len(f.Envs) > 0 {
		help += " Variable: " + strings.Join(f.Envs, ", ") + "."
	}
	p.text(help)
}

func arguments(n *kong.Node) string {
	var all strings.Builder
	for _, a := range n.Positional {
		fmt.Fprintf(&all, ` \fI%s\fR`, roff(strings.ToUpper(a.Name)))
	}
	return all.String()
}

func defaultMark(app *kong.Application, n *kong.Node) string {
	if n == app.DefaultCmd {
		return " (if no command is named)"
	}
	return ""
}

// roff escapes a text: a plain hyphen would be set as a dash, which cannot be searched for or copied, and what is not
// ASCII would be read in the encoding that the reader's system has.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\n':
			b.WriteByte(' ')
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
