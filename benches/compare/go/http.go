package main

import (
	"fmt"
	"net"
	"net/http"
)

// The HTTP server of the standard library. Serves until killed.
func serveHTTP() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	fmt.Println("listening on", listener.Addr())
	hello := []byte("hello")
	handler := func(reply http.ResponseWriter, _ *http.Request) {
		if _, err := reply.Write(hello); err != nil {
			return
		}
	}
	fail(http.Serve(listener, http.HandlerFunc(handler)).Error())
}
