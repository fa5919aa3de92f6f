package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/tuning"
)

// stage is which of the three places of a value is being read.
type stage int

const (
	fromFlags stage = iota
	fromEnvironment
	fromFile
)

// invocation is a command line, the environment and the configuration file, once they have been read. Reading goes on
// after a fault, with the flag's default, so that all are found.
type invocation struct {
	args []string
	to   *streams

	commands commands
	parser   *kong.Kong
	context  *kong.Context
	file     *configFile // nil is none
	stage    stage
	faults   []error
	left     bool // --help or --version has been answered
}

// read reads all three. An error means that it is not even known what the command is.
func read(args []string, to *streams) (*invocation, error) {
	var unknown []error
	for rest := args; ; {
		i := &invocation{args: args, to: to}
		if err := i.makeParser(); err != nil {
			return nil, err
		}
		var err error
		i.context, err = i.parser.Parse(rest)
		if shorter := withoutUnknownFlag(rest, err); len(shorter) < len(rest) {
			unknown, rest = append(unknown, err), shorter
			continue
		}
		i.faults = append(unknown, i.faults...)
		if err != nil && !i.left {
			return nil, errors.Join(append(i.faults, err)...)
		}
		return i, nil
	}
}

func (i *invocation) makeParser() error {
	var err error
	i.parser, err = kong.New(&i.commands, kong.Name("sockloop"),
		kong.Description("A SockJS and WebSocket broadcast server on one epoll loop."),
		kong.Writers(i.to.out, i.to.err), kong.Exit(func(int) { i.left = true }), kong.DefaultEnvars("SOCKLOOP"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.WithBeforeResolve(i.openConfig),
		kong.WithBeforeReset(func() error { i.stage = fromEnvironment; return nil }),
		kong.Vars{"transports": strings.Join(server.Transports(), ", "), "version": version.Own()})
	if err != nil {
		return err
	}
	for _, command := range i.parser.Model.Children {
		for _, f := range command.Flags {
			f.Mapper = forgiving{f.Mapper, i}
		}
	}
	return nil
}

// withoutUnknownFlag takes the flag that the parser's error is about off the arguments.
func withoutUnknownFlag(args []string, err error) []string {
	if err == nil {
		return args
	}
	name, ok := strings.CutPrefix(err.Error(), "unknown flag ")
	if !ok {
		return args
	}
	name, _, _ = strings.Cut(name, ",")
	at := slices.IndexFunc(args, func(arg string) bool { return arg == name || strings.HasPrefix(arg, name+"=") })
	if at < 0 {
		return args
	}
	return slices.Delete(slices.Clone(args), at, at+1)
}

// serveNode is the command with the flags that the file may have.
func (i *invocation) serveNode() *kong.Node { return i.parser.Model.DefaultCmd }

func (i *invocation) addFault(err error) {
	// Several commands have the same flags, so one variable is read several times.
	if !slices.ContainsFunc(i.faults, func(f error) bool { return f.Error() == err.Error() }) {
		i.faults = append(i.faults, err)
	}
}

// place says where the value of a flag comes from, for whoever has to mend it.
func (i *invocation) place(f *kong.Flag, s stage) string {
	name, _ := variable(f)
	switch {
	case s == fromEnvironment && name != "":
		return name
	case s == fromFile:
		return fmt.Sprintf("%s:%d: %s", i.file.name, i.file.values[f.Name].line, f.Name)
	}
	return "--" + f.Name
}

// source says where the value in force comes from.
func (i *invocation) source(f *kong.Flag) (source string, s stage) {
	onCommandLine := func(p *kong.Path) bool { return p.Flag == f && !p.Resolved }
	if slices.ContainsFunc(i.context.Path, onCommandLine) {
		return "flag", fromFlags
	}
	if name, ok := variable(f); ok {
		return "environment " + name, fromEnvironment
	}
	if i.file != nil {
		if v, ok := i.file.values[f.Name]; ok && v.text != "" {
			return fmt.Sprintf("%s:%d", i.file.name, v.line), fromFile
		}
	}
	return "default", fromFlags
}

// forgiving reads the default instead of a value that is faulty, and notes the fault.
type forgiving struct {
	kong.Mapper
	i *invocation
}

// Decode reads a value into target.
func (m forgiving) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	v := ctx.Value
	err := m.Mapper.Decode(ctx, target)
	if err == nil && v.Enum != "" && !v.EnumMap()[fmt.Sprint(target.Interface())] {
		err = fmt.Errorf(`want one of "%s", not %q`, strings.Join(v.EnumSlice(), `","`), target.Interface())
	}
	if err == nil {
		return nil
	}
	m.i.addFault(fmt.Errorf("%s: %w", m.i.place(v.Flag, m.i.stage), err))
	if !v.HasDefault {
		return nil
	}
	token := kong.Token{Type: kong.FlagValueToken, Value: v.Default}
	return m.Mapper.Decode(&kong.DecodeContext{Value: v, Scan: kong.ScanFromTokens(token)}, target)
}

// memoryMaxMin is what not even a small room could do with less.
const memoryMaxMin = 1 << 20

// strayVariables are the names of variables that look like those of flags, and are none's.
func (i *invocation) strayVariables() []string {
	known := map[string]bool{adminTokenEnv: true}
	for _, command := range i.parser.Model.Children {
		for _, f := range command.Flags {
			name, _ := variable(f)
			known[name] = true
		}
	}
	for _, f := range i.parser.Model.Flags {
		name, _ := variable(f)
		known[name] = true
	}
	var stray []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "SOCKLOOP_") && !known[name] {
			stray = append(stray, name)
		}
	}
	return stray
}

// check makes the server's configuration of the flags. The error joins all faults, each of which says where it is.
func (i *invocation) check(s *serve, log *slog.Logger) (server.Config, error) {
	faults := slices.Clone(i.faults)
	if err := checkCPUs(s.CPU); err != nil {
		faults = append(faults, i.locate("cpu", err))
	}
	if s.MemoryMax > 0 && s.MemoryMax < memoryMaxMin {
		faults = append(faults, i.locate("memory-max", fmt.Errorf("%d bytes, want 1M or more: is a unit missing, as "+
			"in 256M?", s.MemoryMax)))
	}
	if err := s.Admin.check(); err != nil {
		faults = append(faults, err)
	}
	if _, err := s.Broker.broker(log); err != nil {
		faults = append(faults, i.locate("broker", err))
	}
	c, err := s.config(log).WithDefaults()
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			faults = append(faults, i.located(err))
		}
	}
	return c, errors.Join(faults...)
}

// checkCPUs tells whether one of the CPUs is there.
func checkCPUs(set tuning.CPUs) error {
	allowed, err := tuning.Allowed()
	if err != nil || len(set) == 0 {
		return err
	}
	_, _, err = set.Cut(allowed)
	return err
}

// located puts the place of the flag before a fault of the server's configuration.
func (i *invocation) located(err error) error {
	fault, ok := errors.AsType[*server.ConfigError](err)
	if !ok {
		return err
	}
	for _, f := range i.context.Selected().Flags {
		name := strings.ReplaceAll(f.Name, "-", "")
		if fault.Field == f.Tag.Get("field") || strings.EqualFold(fault.Field, name) {
			return i.locate(f.Name, errors.New(fault.Fault))
		}
	}
	return errors.New(fault.Fault)
}

func (i *invocation) locate(flag string, err error) error {
	for _, f := range i.context.Selected().Flags {
		if f.Name == flag {
			_, s := i.source(f)
			return fmt.Errorf("%s: %w", i.place(f, s), err)
		}
	}
	return err
}
