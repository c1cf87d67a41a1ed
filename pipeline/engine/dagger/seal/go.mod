module seal

go 1.24
