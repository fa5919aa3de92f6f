package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/tuning"
)

func main() {
	tuning.RaiseDescriptors()
	t, err := loadclient.ParseTarget(os.Args[1], loadclient.Protocol(os.Args[2]))
	if err != nil {
		panic(err)
	}
	n, _ := strconv.Atoi(os.Args[3])
	pid, _ := strconv.Atoi(os.Args[4])
	probe, err := loadclient.NewServerProbe(pid)
	if err != nil {
		panic(err)
	}
	cpus := tuning.CPUs{1}
	tuning.PinProcess(cpus)
	l, err := loadclient.OpenLevel(context.Background(), loadclient.LevelConfig{Target: t, Connections: n, CPUs: cpus, IDBase: 1, Probe: probe})
	if err != nil {
		panic(err)
	}
	for _, a := range os.Args[5:] {
		rate, _ := strconv.ParseFloat(a, 64)
		tr, err := l.Trial(rate/float64(n), 3*time.Second)
		if err != nil {
			panic(err)
		}
		json.NewEncoder(os.Stdout).Encode(tr)
		fmt.Printf("nominal %.1fM delivered %.1fM rtt %.2f p99 %.2f lag %.2f busy %v server %+v %s %s mpf %.0f mpr %.0f\n", tr.Nominal/1e6, tr.Delivered/1e6, tr.RTT.Mean, tr.RTT.P99, tr.LagP99, tr.ClientBusy, tr.Server, tr.Verdict, tr.Reason, tr.MessagesPerFrame, tr.MessagesPerRead)
	}
	l.Close()
}
