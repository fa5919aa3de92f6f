// Package cli makes shell completion and man pages of a program's kong declarations, so that they list what the program
// has. A program adds Completion and Man to its commands.
package cli

import (
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

// Completion is a command that prints a completion script.
type Completion struct {
	Shell string `arg:"" help:"The shell: ${enum}." enum:"bash,zsh,fish"`
}

// Run prints the script.
func (c *Completion) Run(k *kong.Context) error { return WriteCompletion(k.Stdout, c.Shell, k.Model) }

// WriteCompletion writes a script with which a shell (bash, zsh or fish) completes a program's commands, flags, and the
// values of those flags that take one of a few.
func WriteCompletion(w io.Writer, shell string, app *kong.Application) error {
	t := scripts.Lookup(shell)
	if t == nil {
		return fmt.Errorf("no completion for the shell %q: want bash, zsh or fish", shell)
	}
	return t.Execute(w, programOf(app))
}

// program is what a script needs to know.
type program struct {
	Name    string
	Default string // the command that is meant when none is named
	Words   string // names of the commands, one space between
	// Commands are those that are not hidden, each with the program's own flags.
	Commands []command
	Valued   string // for bash: the flags that take any value, each after its command, with bars between
}

type command struct {
	Name, Help string
	Words      string   // what may be its first argument
	Flags      []option // a flag that can be negated is two
}

type option struct {
	Name, Help  string
	Placeholder string // empty if it takes no value
	Choices     string // the values it can have, if they are few, one space between
}

func programOf(app *kong.Application) program {
	p := program{Name: app.Name}
	if app.DefaultCmd != nil {
		p.Default = app.DefaultCmd.Name
	}
	var names, valued []string
	for _, n := range app.Children {
		if n.Hidden {
			continue
		}
		c := commandOf(n)
		names = append(names, n.Name)
		p.Commands = append(p.Commands, c)
		for _, f := range c.Flags {
			if f.Placeholder != "" && f.Choices == "" {
				valued = append(valued, n.Name+"--"+f.Name)
			}
		}
	}
	p.Words, p.Valued = strings.Join(names, " "), strings.Join(valued, "|")
	return p
}

func commandOf(n *kong.Node) command {
	c := command{Name: n.Name, Help: n.Help}
	if len(n.Positional) > 0 && n.Positional[0].Enum != "" {
		c.Words = strings.Join(n.Positional[0].EnumSlice(), " ")
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			c.Flags = append(c.Flags, optionOf(f))
			if f.Tag.Negatable != "" {
				c.Flags = append(c.Flags, option{Name: "no-" + f.Name, Help: "Not: " + f.Help})
			}
		}
	}
	return c
}

func optionOf(f *kong.Flag) option {
	o := option{Name: f.Name, Help: f.Help}
	if !f.IsBool() {
		o.Placeholder = strings.ReplaceAll(f.FormatPlaceHolder(), `"`, "")
	}
	if f.Enum != "" {
		o.Choices = strings.Join(f.EnumSlice(), " ")
	}
	return o
}

// zshSpec is a flag as zsh's _arguments takes it, in single quotes.
func zshSpec(o option) string {
	spec := "--" + o.Name
	if o.Placeholder != "" {
		spec += "="
	}
	spec += "[" + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(o.Help) + "]"
	switch {
	case o.Choices != "":
		spec += ":" + o.Name + ":(" + o.Choices + ")"
	case o.Placeholder != "":
		spec += ":" + o.Name + ":_files"
	}
	return "'" + strings.ReplaceAll(spec, "'", `'\''`) + "'"
}

// fishQuoted writes a text between single quotes for fish, where a backslash escapes within them.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

var scripts = template.Must(template.New("").Funcs(template.FuncMap{
	"fish": fishQuoted, "zsh": zshSpec,
}).Parse(`
{{- define "bash" -}}
# bash completion of {{.Name}}:  source <({{.Name}} completion bash)
_{{.Name}}() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command={{.Default}} word words
  # bash splits --flag=value at the sign.
  [[ $cur == = ]] && cur=
  [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
    {{- range .Commands}}
      {{.Name}}) command={{.Name}}; break;;
    {{- end}}
    esac
  done
  case $command$prev in
  {{- range $c := .Commands}}{{range .Flags}}{{if .Choices}}
    {{$c.Name}}--{{.Name}}) COMPREPLY=($(compgen -W "{{.Choices}}" -- "$cur")); return;;
  {{- end}}{{end}}{{end}}
    {{.Valued}}) return;; # complete -o default: a file, perhaps
  esac
  words=
  ((COMP_CWORD == 1)) && words="{{.Words}}"
  case $command in
  {{- range .Commands}}
    {{.Name}}) words+="{{range .Flags}} --{{.Name}}{{end}} {{.Words}}";;
  {{- end}}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _{{.Name}} {{.Name}}
{{end}}

{{- define "zsh" -}}
#compdef {{.Name}}
# zsh completion of {{.Name}}:  {{.Name}} completion zsh > "${fpath[1]}/_{{.Name}}"
_{{.Name}}() {
  local command={{.Default}} word
  local -a commands=({{.Words}}) first=()
  for word in "${(@)words[2,CURRENT-1]}"; do
    if (( ${commands[(Ie)$word]} )); then
      command=$word
      break
    fi
  done
  case $command in
  {{- range .Commands}}
  {{.Name}})
    first=({{.Words}})
    (( CURRENT == 2 )) && first+=($commands)
    _arguments
    {{- range .Flags}} \
      {{zsh .}}
    {{- end}} \
      '*:argument:($first)'
    ;;
  {{- end}}
  esac
}
if [[ $funcstack[1] == _{{.Name}} ]]; then
  _{{.Name}} "$@"
else
  compdef _{{.Name}} {{.Name}}
fi
{{end}}

{{- define "fish" -}}
# fish completion of {{.Name}}:  {{.Name}} completion fish | source
{{- $p := .}}
complete -c {{.Name}} -f
{{- range .Commands}}
complete -c {{$p.Name}} -n 'not __fish_seen_subcommand_from {{$p.Words}}' -a {{.Name}} -d {{fish .Help}}
{{- if .Words}}
complete -c {{$p.Name}} -n '__fish_seen_subcommand_from {{.Name}}' -a '{{.Words}}'
{{- end}}
{{- $c := .}}{{range .Flags}}
complete -c {{$p.Name}} -n '
{{- if eq $c.Name $p.Default}}not __fish_seen_subcommand_from {{$p.Words}}; or {{end -}}
__fish_seen_subcommand_from {{$c.Name}}' -l {{.Name}}
{{- if .Choices}} -x -a '{{.Choices}}'{{else if .Placeholder}} -r -F{{end}} -d {{fish .Help}}
{{- end}}{{end}}
{{end}}`))
