package main

import "strings"

// storeCause says in words of our own why the store takes no writes: anyone may read it, so nothing of the error is in it but
// the name of what is known to happen.
func storeCause(err error) string {
	text := err.Error()
	for _, known := range [][2]string{
		{"connection refused", "the store cannot be reached (connection refused)"},
		{"no such host", "the store cannot be reached (no such host)"},
		{"timeout", "the store does not answer in time (timeout)"},
		{"deadline exceeded", "the store does not answer in time (timeout)"},
		{"OOM", "the store has no memory left (OOM)"},
		{"READONLY", "the store is a replica (READONLY)"},
		{"NOREPLICAS", "the store has not the replicas that it wants (NOREPLICAS)"},
		{"LOADING", "the store is loading (LOADING)"},
		{"MISCONF", "the store cannot save (MISCONF)"},
		{"CLUSTERDOWN", "the store's cluster is down (CLUSTERDOWN)"},
		{"MASTERDOWN", "the store's master is down (MASTERDOWN)"},
		{"NOAUTH", "the store asks for a password (NOAUTH)"},
		{"WRONGPASS", "the store refuses the password (WRONGPASS)"},
		{"NOPERM", "the store does not permit it (NOPERM)"},
		{"no space left", "the store's disk is full (no space left)"},
		{"file too large", "the store's file may not grow (file too large)"},
		{"read-only file system", "the store's disk is read-only"},
		{"input/output error", "the store's disk fails (input/output error)"},
	} {
		if strings.Contains(text, known[0]) {
			return known[1]
		}
	}
	return "the store does not take writes; the log says why"
}
