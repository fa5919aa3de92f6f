package admin

import (
	"reflect"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// Each field of the counters changes something that is exported; the exceptions are exported otherwise.
func TestEveryCounterIsExported(t *testing.T) {
	t.Parallel()
	otherwise := map[string]string{
		"Sessions": "the sum of sockloop_connections", "MemoryBytes": "the sum of sockloop_memory_bytes",
		"Turns":       "the count of sockloop_turn_seconds",
		"TurnSeconds": "a histogram", "BatchMessages": "a histogram",
	}
	values := func(st *server.Stats) map[string]map[string]float64 {
		all := map[string]map[string]float64{}
		for _, m := range metrics {
			all[m.desc.String()] = m.values(st)
		}
		return all
	}
	none := values(&server.Stats{})
	for field := range reflect.TypeFor[server.Stats]().Fields() {
		var st server.Stats
		switch v := reflect.ValueOf(&st).Elem().FieldByIndex(field.Index); v.Kind() {
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(time.Second))
		case reflect.Uint64:
			v.SetUint(1)
		case reflect.Float64:
			v.SetFloat(1)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Array:
			v.Index(0).SetInt(1)
		case reflect.Struct: // a histogram
		default:
			t.Errorf("%s is of a kind that this test does not know", field.Name)
		}
		if same := reflect.DeepEqual(values(&st), none); same != (otherwise[field.Name] != "") {
			t.Errorf("%s is exported: %v", field.Name, !same)
		}
	}
}
