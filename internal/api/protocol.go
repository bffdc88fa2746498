package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// headerProtocol is the version of the contract that a client wants to speak, in the canonical form of http.Header.
const headerProtocol = "X-Pocketping-Protocol"

// protocols returns the versions of the contract that are served.
func protocols() []int { return []int{Protocol} }

// checkProtocol refuses a request that names a version of the contract that is not served. One that names none is served.
func checkProtocol(r *http.Request) error {
	values, there := r.Header[headerProtocol]
	if !there {
		return nil
	}
	if len(values) == 1 {
		if n, err := strconv.Atoi(strings.TrimSpace(values[0])); err == nil && slices.Contains(protocols(), n) {
			return nil
		}
	}
	return &problem{status: http.StatusUpgradeRequired, code: "protocol", supported: protocols(),
		text: "this version of the protocol is not served; supported says which are"}
}
