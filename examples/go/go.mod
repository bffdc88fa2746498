module github.com/pocketping/bridge/examples/go

go 1.22

require github.com/pocketping/bridge/clients/go v0.0.0

replace github.com/pocketping/bridge/clients/go => ../../clients/go
