//go:build race

package onsite

// race says that the tests run with the race detector, and so does the program.
const race = true
