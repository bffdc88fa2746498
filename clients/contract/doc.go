// Package contract has the cases that the clients of the bridge must pass, in ../cases.json, and the test that runs them: the
// real bridge, as a process, on stand-ins for Telegram and Discord, with app servers made of each client and a stand-in for the
// SDK. .ci/test-clients runs it.
package contract
