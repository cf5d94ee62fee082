package main

func serve(args []string) { fail("not yet") }
