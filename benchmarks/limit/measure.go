package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/rawcall"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// count is what a thread has done so far.
type count struct {
	at                 time.Time
	bytes, sends, full int64
	cpu                time.Duration
}

// measure sends for the window and a warm-up of a fifth of it, and checks that the reader got every byte.
func measure(connections, bytes int, f flags) (r results.Wall, err error) {
	near, far, err := connect(connections)
	if err != nil {
		closeAll(near)
		closeAll(far)
		return r, err
	}
	var readErr, sendErr error
	received := make(chan count, 1)
	go func() {
		defer closeAll(far)
		received <- onThread(f.ReaderCPU, func() (count, error) { return discard(far) }, &readErr)
	}()
	var first, last count
	sent := make(chan struct{})
	go func() { // a goroutine of its own, whose pinned thread ends with it
		defer close(sent)
		defer closeAll(near) // which ends the reader
		last = onThread(f.CPU, func() (count, error) {
			s := sender{sockets: near, payload: make([]byte, bytes), left: make([]int, connections)}
			if f.Rounds > 0 {
				s.every, s.due = time.Second/time.Duration(f.Rounds), time.Now()
			}
			for i := range s.payload {
				s.payload[i] = byte(i)
			}
			var err error
			if first, err = s.run(f.Window / 5); err != nil {
				return first, err
			}
			return s.run(f.Window)
		}, &sendErr)
	}()
	<-sent
	got := <-received
	if err = errors.Join(sendErr, readErr); err != nil {
		return r, err
	}
	if got.bytes != last.bytes {
		return r, fmt.Errorf("the reader got %d bytes of %d", got.bytes, last.bytes)
	}
	r = summary(connections, bytes, first, last, got)
	r.Rounds = f.Rounds
	return r, nil
}

// summary is the difference of two counts of the sender.
func summary(connections, bytes int, first, last, reader count) results.Wall {
	seconds, cpu := last.at.Sub(first.at).Seconds(), (last.cpu - first.cpu).Seconds()
	sentBytes, sends := float64(last.bytes-first.bytes), float64(last.sends-first.sends)
	return results.Wall{
		Connections: connections, Bytes: bytes, Window: seconds,
		BytesRate: sentBytes / seconds, SendsRate: sends / seconds, Full: last.full - first.full,
		CPU: cpu, BytesPerCPU: sentBytes / cpu, CPUPerSend: cpu / sends * 1e9, ReaderCPU: reader.cpu.Seconds(),
	}
}

// onThread calls do on a thread of its own on a CPU. The goroutine must end soon after: its thread ends with it.
func onThread(cpu int, do func() (count, error), failed *error) (c count) {
	runtime.LockOSThread() // and never unlocked, or a pinned thread would serve others
	if *failed = tuning.PinThread(tuning.CPUs{cpu}); *failed == nil {
		c, *failed = do()
	}
	return c
}

// threadTime is the CPU time of the calling thread.
func threadTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// sender sends the same bytes to each of its sockets in turn.
type sender struct {
	sockets []int
	payload []byte
	left    []int         // what a full socket did not take of the payload, by socket
	at      int           // the socket whose turn it is
	idle    int           // sockets in a row that were full
	every   time.Duration // from the beginning of a round to that of the next; 0 is that there is no rest between
	due     time.Time     // when this round was to begin
	count
}

// clockEvery is how many sends are between two looks at the clock.
const clockEvery = 32

// run sends for a time and returns the count.
func (s *sender) run(during time.Duration) (count, error) {
	end := time.Now().Add(during)
	for {
		for range clockEvery {
			if err := s.send(); err != nil {
				return s.count, err
			}
		}
		if now := time.Now(); !now.Before(end) {
			var err error
			s.count.at = now
			s.cpu, err = threadTime()
			return s.count, err
		}
	}
}

// send sends to the next socket. One that is full has its turn again later; when all are, it waits for one.
func (s *sender) send() error {
	i := s.at
	if i == 0 && s.every > 0 {
		if err := s.rest(); err != nil {
			return err
		}
	}
	if s.at++; s.at == len(s.sockets) {
		s.at = 0
	}
	p := s.payload[len(s.payload)-s.leftOf(i):]
	n, err := rawcall.Send(s.sockets[i], p)
	switch err {
	case nil:
		s.left[i] = len(p) - n
		s.bytes += int64(n)
		s.sends++
		s.idle = 0
		return nil
	case unix.EAGAIN:
		s.full++
		if s.idle++; s.idle < len(s.sockets) {
			return nil
		}
		s.idle = 0
		return s.wait(i)
	case unix.EINTR:
		return nil
	default:
		return os.NewSyscallError("send", err)
	}
}

func (s *sender) leftOf(i int) int {
	if s.left[i] > 0 {
		return s.left[i]
	}
	return len(s.payload)
}

// rest waits until the next round is due; one that is late begins at once.
func (s *sender) rest() error {
	s.due = s.due.Add(s.every)
	left := time.Until(s.due)
	if left <= 0 {
		return nil
	}
	t := unix.NsecToTimespec(left.Nanoseconds())
	if err := unix.Nanosleep(&t, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("nanosleep", err)
	}
	return nil
}

// wait waits until a socket has room, a millisecond at most: others may have room before.
func (s *sender) wait(i int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(s.sockets[i]), Events: unix.POLLOUT}}, 1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("poll", err)
	}
	return nil
}
