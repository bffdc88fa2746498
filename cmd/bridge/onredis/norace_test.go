//go:build !race

package onredis

// race says that the tests run with the race detector, and so does the program.
const race = false
