module github.com/pocketping/bridge/clients/go

go 1.22
