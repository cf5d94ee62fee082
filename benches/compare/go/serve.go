package main

import (
	"fmt"
	"net"
	"strings"
)

// The echo server: a goroutine and a buffer for each connection, 4 KiB or, for large messages, 64 KiB. Serves until killed.
func serve(args []string) {
	if len(args) > 0 && strings.HasSuffix(args[0], "/net-http") {
		serveHTTP()
		return
	}
	size := 4 << 10
	if len(args) > 0 && strings.HasSuffix(args[0], "/large") {
		size = 64 << 10
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
		go echo(conn, size)
	}
}

func echo(conn net.Conn, size int) {
	defer conn.Close()
	buffer := make([]byte, size)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}
