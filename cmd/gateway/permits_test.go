package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPermits(t *testing.T) {
	p := newPermits()
	p.free("b") // before it is known what there is to be
	p.plan([]string{"a", "b", "a"})
	p.free("b") // where nobody is to be any more
	p.free("a")
	for worker, want := range []string{"b", "a"} {
		if device, err := p.await(t.Context(), worker); device != want || err != nil {
			t.Errorf("worker %d is on %q, %v", worker, device, err)
		}
	}
	third := make(chan string)
	go func() {
		device, err := p.await(t.Context(), 2)
		third <- fmt.Sprint(device, err)
	}()
	p.free("c")
	select {
	case device := <-third:
		t.Errorf("worker 2 is on %s", device)
	default:
	}
	p.freeAll()
	if device := <-third; device != "a<nil>" {
		t.Errorf("worker 2 is on %s", device)
	}
}

func TestShift(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := newShift(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		w.WriteHeader(http.StatusOK)
	}), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	ask := func() int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Code
	}
	early := make(chan int)
	go func() { early <- ask() }()
	<-entered
	idle := s.end()
	if status := ask(); status != http.StatusServiceUnavailable {
		t.Errorf("status %d after the end", status)
	}
	select {
	case <-idle:
		t.Error("it is idle while a request runs")
	default:
	}
	close(leave)
	if status := <-early; status != http.StatusOK {
		t.Errorf("status %d of one from before the end", status)
	}
	<-idle
}
