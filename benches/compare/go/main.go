// The same workloads in Go. Built and started by the comparison when there is a Go toolchain; prints what the others print:
// one line of JSON.
//
//	compare sample WORKLOAD go[/VARIANT] --ops N [--warm N]
//
// The number of workers is GOMAXPROCS.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A workload does so many operations, checks what came out, and may report figures beside its time.
type workload func(ops int) map[string]float64

type sample struct {
	Ops    int                `json:"ops"`
	WallNs int64              `json:"wall_ns"`
	CPUNs  int64              `json:"cpu_ns"`
	Extra  map[string]float64 `json:"extra"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(os.Args[2:])
		return
	}
	if len(os.Args) < 4 || os.Args[1] != "sample" {
		fail("usage: compare sample WORKLOAD go[/VARIANT] --ops N [--warm N]")
	}
	name := os.Args[2]
	if _, variant, ok := strings.Cut(os.Args[3], "/"); ok {
		name += "/" + variant
	}
	ops, warm := 0, 0
	for i := 4; i+1 < len(os.Args); i += 2 {
		value, err := strconv.Atoi(os.Args[i+1])
		check(err == nil, "a number after "+os.Args[i])
		switch os.Args[i] { // --workers is GOMAXPROCS here
		case "--ops":
			ops = value
		case "--warm":
			warm = value
		}
	}
	run, ok := workloads[name]
	if !ok {
		fail("Go does not run " + name)
	}
	if warm > 0 {
		run(warm)
	}
	cpu, start := processCPU(), time.Now()
	extra := run(ops)
	wall := time.Since(start)
	out := sample{Ops: ops, WallNs: wall.Nanoseconds(), CPUNs: processCPU() - cpu, Extra: extra}
	if out.Extra == nil {
		out.Extra = map[string]float64{}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fail(err.Error())
	}
}

func processCPU() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// Resident memory of this process and its page tables, in bytes.
func resident() (float64, float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err.Error())
	}
	field := func(name string) float64 {
		for _, line := range strings.Split(string(status), "\n") {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
				check(err == nil, name)
				return float64(kib) * 1024
			}
		}
		return 0
	}
	return field("VmRSS:"), field("VmPTE:")
}

func check(ok bool, what string) {
	if !ok {
		fail("wrong: " + what)
	}
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, "compare:", what)
	os.Exit(1)
}
