package main

import (
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tasks         = 1000
	manyTasks     = 200
	manyYields    = 1000
	spawnMany     = 10000
	chain         = 1000
	oneshotPairs  = 1000
	capacity      = 128
	parties       = 4
	children      = 10
	far           = 10 * time.Second
	timersSpread  = time.Second
	timersOpening = 6 * time.Second // for a million
)

var workloads = map[string]workload{
	"yield-1":           yieldOne,
	"yield-1000":        func(ops int) map[string]float64 { return yieldSideBySide(tasks, ops/tasks) },
	"yield-many":        yieldMany,
	"spawn-join":        spawnJoin,
	"alive":             alive,
	"ping-pong":         pingPong,
	"spsc":              spsc,
	"mpmc":              mpmc,
	"select":            func(ops int) map[string]float64 { return selects(ops, 0, false) },
	"select-buffered":   func(ops int) map[string]float64 { return selects(ops, capacity, false) },
	"select-timer":      func(ops int) map[string]float64 { return selects(ops, 0, true) },
	"skynet":            func(ops int) map[string]float64 { return skynet(ops, 0) },
	"skynet/cap10":      func(ops int) map[string]float64 { return skynet(ops, children) },
	"sieve":             sieve,
	"chained-spawn":     chainedSpawn,
	"spawn-many":        spawnManyTasks,
	"ping-pong-oneshot": pingPongOneshot,
	"timers":            timers,
	"timeout-ready":     timeoutReady,
	"arm-cancel":        armCancel,
	"mutex":             mutex,
}

func sumBelow(n int) int { return n * (n - 1) / 2 }

func rounds(ops, unit int) int { return max(ops/unit, 1) }

func yieldOne(ops int) map[string]float64 {
	for i := 0; i < ops; i++ {
		runtime.Gosched()
	}
	return nil
}

func yieldMany(ops int) map[string]float64 {
	for i := 0; i < rounds(ops, manyTasks*manyYields); i++ {
		yieldSideBySide(manyTasks, manyYields)
	}
	return nil
}

func yieldSideBySide(tasks, yields int) map[string]float64 {
	var all sync.WaitGroup
	var total atomic.Int64
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			done := 0
			for done < yields {
				runtime.Gosched()
				done++
			}
			total.Add(int64(done))
			all.Done()
		}()
	}
	all.Wait()
	check(total.Load() == int64(tasks*yields), "yields")
	return nil
}

func spawnJoin(ops int) map[string]float64 {
	results := make([]int, tasks)
	sum := 0
	for batch := 0; batch < rounds(ops, tasks); batch++ {
		var all sync.WaitGroup
		all.Add(tasks)
		for i := 0; i < tasks; i++ {
			go func() {
				results[i] = batch*tasks + i
				all.Done()
			}()
		}
		all.Wait()
		for _, result := range results {
			sum += result
		}
	}
	check(sum == sumBelow(rounds(ops, tasks)*tasks), "sum")
	return nil
}

func alive(ops int) map[string]float64 {
	gate, allParked := make(chan struct{}), make(chan struct{})
	var parked, sum atomic.Int64
	var all sync.WaitGroup
	all.Add(ops)
	rss, tables := resident()
	for i := 0; i < ops; i++ {
		go func() {
			if parked.Add(1) == int64(ops) {
				close(allParked)
			}
			<-gate
			sum.Add(int64(i))
			all.Done()
		}()
	}
	<-allParked
	rssAfter, tablesAfter := resident()
	close(gate)
	all.Wait()
	check(sum.Load() == int64(sumBelow(ops)), "sum")
	return map[string]float64{
		"bytes_per_task":            (rssAfter - rss) / float64(ops),
		"page_table_bytes_per_task": (tablesAfter - tables) / float64(ops),
	}
}

func pingPong(ops int) map[string]float64 {
	ping, pong := make(chan int), make(chan int)
	done := make(chan struct{})
	go func() {
		for value := range ping {
			pong <- value + 1
		}
		close(done)
	}()
	value := 0
	for i := 0; i < ops; i++ {
		ping <- value
		value = <-pong
	}
	check(value == ops, "round trips")
	close(ping)
	<-done
	return nil
}

func spsc(ops int) map[string]float64 {
	c := make(chan int, capacity)
	go func() {
		for value := 0; value < ops; value++ {
			c <- value
		}
		close(c)
	}()
	sum := 0
	for value := range c {
		sum += value
	}
	check(sum == sumBelow(ops), "sum")
	return nil
}

func mpmc(ops int) map[string]float64 {
	each := rounds(ops, parties)
	c := make(chan int, capacity)
	var senders, receivers sync.WaitGroup
	var total atomic.Int64
	senders.Add(parties)
	receivers.Add(parties)
	for i := 0; i < parties; i++ {
		go func() {
			for value := 0; value < each; value++ {
				c <- value
			}
			senders.Done()
		}()
		go func() {
			sum := 0
			for value := range c {
				sum += value
			}
			total.Add(int64(sum))
			receivers.Done()
		}()
	}
	senders.Wait()
	close(c)
	receivers.Wait()
	check(total.Load() == int64(parties*sumBelow(each)), "sum")
	return nil
}

func selects(ops, capacity int, withTimer bool) map[string]float64 {
	each := rounds(ops, parties)
	var c [parties]chan int
	for i := range c {
		c[i] = make(chan int, capacity)
		go func(c chan<- int) {
			for value := 0; value < each; value++ {
				c <- value
			}
		}(c[i])
	}
	sum := 0
	for i := 0; i < parties*each; i++ {
		var value int
		if withTimer {
			select {
			case value = <-c[0]:
			case value = <-c[1]:
			case value = <-c[2]:
			case value = <-c[3]:
			case <-time.After(far):
				fail("the timer fired")
			}
		} else {
			select {
			case value = <-c[0]:
			case value = <-c[1]:
			case value = <-c[2]:
			case value = <-c[3]:
			}
		}
		sum += value
	}
	check(sum == parties*sumBelow(each), "sum")
	return nil
}

func skynet(ops, capacity int) map[string]float64 {
	c := make(chan int, capacity)
	go node(c, 0, ops, capacity)
	check(<-c == sumBelow(ops), "sum")
	return nil
}

func node(parent chan<- int, first, leaves, capacity int) {
	if leaves == 1 {
		parent <- first
		return
	}
	c := make(chan int, capacity)
	below := leaves / children
	for child := 0; child < children; child++ {
		go node(c, first+child*below, below, capacity)
	}
	sum := 0
	for child := 0; child < children; child++ {
		sum += <-c
	}
	parent <- sum
}

func sieve(ops int) map[string]float64 {
	var stop atomic.Bool
	generated := make(chan int)
	go func() {
		defer close(generated)
		for candidate := 2; ; candidate++ {
			generated <- candidate
			if stop.Load() {
				return
			}
		}
	}()
	rx, prime := generated, 0
	for i := 0; i < ops; i++ {
		prime = <-rx
		before, after, p := rx, make(chan int), prime
		rx = after
		go func() {
			defer close(after)
			for candidate := range before {
				if candidate%p != 0 {
					after <- candidate
				}
			}
		}()
	}
	stop.Store(true)
	for range rx {
	}
	check(prime == nthPrime(ops), "prime")
	return nil
}

func nthPrime(n int) int {
	for x := 2; ; x++ {
		isPrime := true
		for d := 2; d*d <= x && isPrime; d++ {
			isPrime = x%d != 0
		}
		if isPrime {
			if n--; n == 0 {
				return x
			}
		}
	}
}

func chainedSpawn(ops int) map[string]float64 {
	var link func(left int, done chan<- int)
	link = func(left int, done chan<- int) {
		if left == 0 {
			done <- chain
		} else {
			go link(left-1, done)
		}
	}
	for i := 0; i < rounds(ops, chain); i++ {
		done := make(chan int, 1)
		go link(chain-1, done)
		check(<-done == chain, "chain")
	}
	return nil
}

func spawnManyTasks(ops int) map[string]float64 {
	for i := 0; i < rounds(ops, spawnMany); i++ {
		var left atomic.Int64
		left.Store(spawnMany)
		done := make(chan struct{}, 1)
		for j := 0; j < spawnMany; j++ {
			go func() {
				if left.Add(-1) == 0 {
					done <- struct{}{}
				}
			}()
		}
		<-done
	}
	return nil
}

func pingPongOneshot(ops int) map[string]float64 {
	for i := 0; i < rounds(ops, oneshotPairs); i++ {
		var left atomic.Int64
		left.Store(oneshotPairs)
		done := make(chan int, 1)
		for pair := 0; pair < oneshotPairs; pair++ {
			go func() {
				ping, pong := make(chan int, 1), make(chan int, 1)
				go func() { pong <- <-ping + 1 }()
				ping <- pair
				check(<-pong == pair+1, "pair")
				if left.Add(-1) == 0 {
					done <- oneshotPairs
				}
			}()
		}
		check(<-done == oneshotPairs, "pairs")
	}
	return nil
}

func timers(ops int) map[string]float64 {
	open := time.Now().Add(time.Second + timersOpening*time.Duration(ops)/1e6)
	late := make([]time.Duration, ops)
	var all sync.WaitGroup
	all.Add(ops)
	for i := 0; i < ops; i++ {
		deadline := open.Add(timersSpread * time.Duration(i) / time.Duration(ops))
		go func() {
			time.Sleep(time.Until(deadline))
			late[i] = time.Since(deadline)
			all.Done()
		}()
	}
	spare := time.Until(open)
	check(spare > 0, "all are spawned before the first fires")
	all.Wait()
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	check(late[0] >= 0, "no timer fires early")
	at := func(q float64) float64 { return float64(late[int(float64(ops-1)*q)].Nanoseconds()) / 1000 }
	return map[string]float64{
		"late_p50_us": at(0.5),
		"late_p99_us": at(0.99),
		"spare_ms":    spare.Seconds() * 1000,
	}
}

func timeoutReady(ops int) map[string]float64 {
	ready := make(chan struct{}, 1)
	for i := 0; i < ops; i++ {
		ready <- struct{}{}
		timer := time.NewTimer(far)
		select {
		case <-ready:
			timer.Stop()
		case <-timer.C:
			fail("the timer fired")
		}
	}
	return nil
}

func armCancel(ops int) map[string]float64 {
	for i := 0; i < ops; i++ {
		check(time.NewTimer(far).Stop(), "it has not fired")
	}
	return nil
}

func mutex(ops int) map[string]float64 {
	var lock sync.Mutex
	var all sync.WaitGroup
	each, count := rounds(ops, tasks), 0
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for j := 0; j < each; j++ {
				lock.Lock()
				count++
				lock.Unlock()
			}
			all.Done()
		}()
	}
	all.Wait()
	check(count == tasks*each, "count")
	return nil
}
