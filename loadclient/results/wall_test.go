package results

import "testing"

// A wall is the best size of each block, and the median of the blocks; in messages it is of the base's size.
func TestWall(t *testing.T) {
	t.Parallel()
	m := &Measurement{
		Manifest: Manifest{Base: "base"},
		KernelWalls: []Wall{
			{Block: 1, Connections: 25, BytesRate: 1e9}, {Block: 1, Connections: 25, BytesRate: 2e9},
			{Block: 2, Connections: 25, BytesRate: 4e9}, {Block: 3, Connections: 25, BytesRate: 5e9},
			{Block: 1, Connections: 100, BytesRate: 9e9},
		},
		Servers: []Server{{
			ManifestServer: ManifestServer{Name: "base"},
			Trials: []Trial{{
				Provenance: Provenance{Block: 1}, Connections: 25, Delivered: 100e6, BytesPerMessage: 20,
			}},
			Searches: []Saturation{{Provenance: Provenance{Block: 1}, Connections: 25, MaxDelivered: 100e6}},
		}},
	}
	if got := m.Wall(25); got != 4e9 {
		t.Errorf("%v", got)
	}
	if got := m.WallMessages(25); got != 200e6 {
		t.Errorf("%v messages", got)
	}
	x := m.Servers[0].At(25)
	if got := wallCell(m.wallShare(&m.Servers[0], &x)); got != "100 %" {
		t.Errorf("%v of block 1's", got)
	}
	if m.Wall(500) != 0 || m.WallMessages(100) != 0 {
		t.Error("what was not measured is something")
	}
}

func TestStandsAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		perFrame, delivered float64
		limit               Verdict
		want                string
	}{
		{50, 75e6, Overloaded, "bytes out"},
		{50, 74e6, Overloaded, "messages in, or its program"},
		{1, 74e6, Overloaded, "frames out"},
		{1.9, 74e6, TargetFailed, "frames out"},
		{50, 75e6, ClientLimited, "not the server"},
	} {
		m := &Measurement{
			KernelWalls: []Wall{{Block: 1, Connections: 25, BytesRate: 2e9}},
			Servers: []Server{{
				Trials: []Trial{{
					Provenance: Provenance{Block: 1}, Connections: 25, Delivered: tt.delivered, BytesPerMessage: 20,
					MessagesPerFrame: tt.perFrame,
				}},
				Searches: []Saturation{{
					Provenance: Provenance{Block: 1}, Connections: 25, MaxDelivered: tt.delivered, Limit: tt.limit,
				}},
			}},
		}
		x := m.Servers[0].At(25)
		if got := m.StandsAt(&m.Servers[0], &x); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
		m.KernelWalls = nil
		if got := m.StandsAt(&m.Servers[0], &x); tt.perFrame > 2 && tt.limit == Overloaded && got != missing {
			t.Errorf("%+v, without a wall: %s", tt, got)
		}
	}
}
