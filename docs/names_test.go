package docs_test

import (
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// oldNames are names that once meant several things, or that were words of this code alone: name, or package.name, → what is said now.
// No function, type, field or constant of the product has one of them. The same words in other names, and in sentences, are English.
var oldNames = map[string]string{
	"again": "redelivery", "aged": "expiresWhileLimited", "alive": "commitWithPresence", "api.only": "decodeAs", "anyevent": "decodeAny",
	"backstage": "internals", "book": "resolver", "buried": "dead-lettered", "callto": "remind", "carrier": "fileService",
	"claim": "dedupe key, assignment, configured", "closure": "closedBy", "conclude": "finishAttempt", "deed": "mutation",
	"destination": "Sink", "door": "route", "elsewhere": "wrongPlaceText", "everywhere": "sessionNotice", "followed": "tracked",
	"desk.call": "remind", "desk.whole": "loaded", "discord.apart": "separateLimit", "discord.bare": "noAuth", "ending": "closeResult",
	"engine.keep": "renewLease", "engine.since": "possiblySent", "engine.tell": "report", "engine.use": "constructor argument",
	"frame": "middleware", "goon": "releaseBeforeCommit", "greeted": "gotHello", "grown": "notifier", "guest": "visitor",
	"slack.hear": "fromMessage", "slack.see": "fromReaction", "hold": "deferred, paused", "holding": "pauseIngress", "hook": "webhookSink",
	"hurry": "retryNow", "hush": "closeIdle", "identify": "requestID", "inlet": "eventQueue", "instances": "callbackSink",
	"introduce": "register", "judge": "updateBackoff", "keeper": "janitor", "kindword": "KindMessage", "knowsrepeats": "dedupes",
	"leadswhere": "sameTarget", "meets": "conflictTracker", "news": "notice", "nobodys": "negative cache", "obey": "dispatch",
	"order": "commandContext", "park": "defer", "parked": "deferred", "passing": "ephemeral", "patience": "timeout", "proved": "possiblySent",
	"refuse": "deny", "rescue": "recover", "retire": "markAway", "rival": "conflictTracker", "roomy": "maybeCompact", "saw": "committed",
	"shelf": "readyQueue", "shut": "closedBy", "stage": "server controls", "stir": "wake", "stood": "ready", "stranger": "notAllowed",
	"stray": "orphan", "engine.stream": "sessionQueue", "suspect": "conflictTracker", "swapping": "dbMu", "take": "admit, acquire, enqueue",
	"taker": "timeoutIngester", "taking": "pauseIngress", "tested": "TestResult", "tightened": "maybeCompact", "track": "partition",
	"trouble": "incident", "turn": "transition", "typereached": "TypeOperatorMessageAcked", "unpark": "resume", "unsure": "possiblySent",
	"watch": "conversationTracker, monitor", "wish": "intent",
}

// keptNames are the exceptions, and why.
var keptNames = map[string]string{
	"bridge.Claim":       "a dedupe key of the log, as the stores keep it; stored data calls it so",
	"bolt.claim":         "takes a bridge.Claim",
	"desk.claim":         "makes a bridge.Claim",
	"desk.take":          "does what /take says; operators know the word",
	"site.Door":          "what pages come in by; there is no other door",
	"site.door":          "a Door",
	"site.again":         "puts back what a page's write left over",
	"site.identify":      "the widget's route of that name",
	"discord.identify":   "the gateway's operation of that name",
	"site.frame":         "a frame of a WebSocket",
	"slack.frame":        "a frame of a WebSocket",
	"bridgeclient.frame": "a frame of an event stream",
	"store.take":         "takes calls off a Group",
	"main.ending":        "the process ends",
	"engine.order":       "the queue's order",
	"bolt.order":         "of a B+ tree's keys",
	"bridgeclient.order": "of a session's events",
	"bridgeclient.watch": "looks at a session of the SDK",
	"engine.refuse":      "does what a sink's verdict says",
	"files.refuse":       "answers a request with an error",
	"filter.refuse":      "answers a visitor who is kept out",
	"outbound.refuse":    "keeps a call from an address",
	"platform.Refuse":    "answers a webhook's request with an error",
	"engine.Since":       "a time",
	"engine.since":       "a time",
}

// oldWords do not even stand in comments.
var oldWords = regexp.MustCompile(`(?i)\b(backstage|deed|greeted|hurry|hush|inlet|keeper|nobodys|obey|parked|rival|roomy|shelf|stir|stray|swapping|taker|tightened|trouble|unpark|unsure|wish)\b`)

// support is code that only tests and the demo use.
var support = regexp.MustCompile(`test/|^internal/(sandbox|demo)/|^clients/go/(standin|internal/testapp)/`)

// The product's names are the field's own, or plain English, and one word means one thing.
func TestNames(t *testing.T) {
	left := maps.Clone(keptNames)
	for _, folder := range []string{"cmd", "internal", "clients/go"} {
		for name, file := range sources(t, folder) {
			if support.MatchString(name) {
				continue
			}
			for _, comments := range file.Comments {
				if word := oldWords.FindString(comments.Text()); word != "" {
					t.Errorf("%s: a comment says %q", name, word)
				}
			}
			for _, one := range declared(file) {
				here := file.Name.Name + "." + one
				now, old := oldNames[strings.ToLower(one)]
				if !old {
					now, old = oldNames[strings.ToLower(here)]
				}
				if _, kept := keptNames[here]; old && !kept {
					t.Errorf("%s: %s; say %s, or say here why not", name, one, now)
				} else if old {
					delete(left, here)
				}
			}
		}
	}
	for name := range left {
		t.Errorf("%s is kept, and is not there", name)
	}
}

// declared returns the names that a file declares outside of its functions, those of fields and methods included.
func declared(file *ast.File) []string {
	var out []string
	add := func(names ...*ast.Ident) {
		for _, n := range names {
			out = append(out, n.Name)
		}
	}
	fields := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, f := range n.Fields.List {
				add(f.Names...)
			}
		case *ast.InterfaceType:
			for _, f := range n.Methods.List {
				add(f.Names...)
			}
		}
		return true
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name)
				case *ast.ValueSpec:
					add(spec.Names...)
				}
			}
		}
	}
	ast.Inspect(file, fields)
	return slices.Compact(slices.Sorted(slices.Values(out)))
}
