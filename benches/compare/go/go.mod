module compare

go 1.22
