package results

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// documented is a row of a table in docs/results.md.
type documented struct{ kind, unit, what, absent string }

// tables are those of docs/results.md, by the heading that they stand under.
func tables(t *testing.T) map[string]map[string]documented {
	t.Helper()
	text, err := os.ReadFile("../../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	all, section := map[string]map[string]documented{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		row, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(row, "` |")
		c := strings.Split(strings.TrimSuffix(rest, "|"), "|")
		if len(c) != 4 {
			t.Errorf("%s, %s: %d columns behind the field, want type, unit, what it is, absent", section, name, len(c))
			continue
		}
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		if all[section] == nil {
			all[section] = map[string]documented{}
		}
		if _, twice := all[section][name]; twice {
			t.Errorf("%s: %s is described twice", section, name)
		}
		all[section][name] = documented{c[0], c[1], c[2], c[3]}
	}
	return all
}

// docs/results.md describes each field of what the files hold, with its type and when it is absent, and no other.
func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	all := tables(t)
	seen := map[string]bool{}
	todo := []reflect.Type{reflect.TypeFor[Record](), reflect.TypeFor[Progress]()}
	for ; len(todo) > 0; todo = todo[1:] {
		if name := todo[0].Name(); !seen[name] {
			seen[name] = true
			todo = append(todo, undocumented(t, todo[0], all[name])...)
		}
	}
	for _, section := range slices.Sorted(maps.Keys(all)) {
		if !seen[section] {
			t.Errorf("%s is described, and is no part of a record", section)
		}
	}
}

// undocumented compares the fields of a type with a table, and returns the types that they lead to.
func undocumented(t *testing.T, of reflect.Type, table map[string]documented) (further []reflect.Type) {
	t.Helper()
	left := maps.Clone(table)
	for _, f := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" || name == "-" {
			continue
		}
		if name == "" {
			t.Errorf("%s.%s has no name in JSON", of.Name(), f.Name)
		}
		row, ok := left[name]
		delete(left, name)
		kind, object := jsonType(f.Type)
		switch {
		case !ok || row.what == "":
			t.Errorf("%s.%s is not described", of.Name(), name)
		case row.kind != kind:
			t.Errorf("%s.%s is described as %q, want %q", of.Name(), name, row.kind, kind)
		case row.absent == "":
			t.Errorf("%s.%s: it is not said when it is absent", of.Name(), name)
		case (row.absent != "never") != (options != "" || f.Type.Kind() == reflect.Pointer):
			t.Errorf("%s.%s is described as absent %q; its options are %q", of.Name(), name, row.absent, options)
		}
		if object != nil {
			further = append(further, object)
		}
	}
	for name := range left {
		t.Errorf("%s.%s is described, and is no field", of.Name(), name)
	}
	return further
}

// jsonType is what a value is called in the document, and the struct that it is, if it is one.
func jsonType(of reflect.Type) (kind string, object reflect.Type) {
	if of == reflect.TypeFor[time.Time]() {
		return "time", nil
	}
	switch of.Kind() {
	case reflect.Pointer:
		return jsonType(of.Elem())
	case reflect.Struct:
		return fmt.Sprintf("[%s](#%s)", of.Name(), strings.ToLower(of.Name())), of
	case reflect.Slice:
		if kind, object = jsonType(of.Elem()); object != nil {
			return fmt.Sprintf("[array of %ss](#%s)", object.Name(), strings.ToLower(object.Name())), object
		}
		return "array of " + kind + "s", nil
	case reflect.Map:
		kind, object = jsonType(of.Elem())
		return "object of " + kind + "s", object
	case reflect.Int, reflect.Int64:
		return "integer", nil
	case reflect.Float64:
		return "number", nil
	case reflect.Bool:
		return "boolean", nil
	}
	return of.Kind().String(), nil
}
