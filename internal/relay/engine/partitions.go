package engine

import "iter"

// partitionSet is the partitions of a session queue. Mostly there is one, for which a map would take more than all else of the session.
type partitionSet struct {
	one  *partition
	more map[string]*partition // by target; nil: there are none
}

// of returns a target's; nil: it has none.
func (s *partitionSet) of(target string) *partition {
	if s.one != nil && s.one.target == target {
		return s.one
	}
	return s.more[target]
}

// add adds the partition of a target that has none.
func (s *partitionSet) add(t *partition) {
	switch {
	case s.one == nil:
		s.one = t
	case s.more == nil:
		s.more = map[string]*partition{t.target: t}
	default:
		s.more[t.target] = t
	}
}

// drop removes one, also while all are gone through.
func (s *partitionSet) drop(t *partition) {
	if s.one == t {
		s.one = nil
		return
	}
	delete(s.more, t.target)
}

func (s *partitionSet) none() bool { return s.one == nil && len(s.more) == 0 }

// all goes through them, in no order.
func (s *partitionSet) all() iter.Seq[*partition] {
	return func(yield func(*partition) bool) {
		if s.one != nil && !yield(s.one) {
			return
		}
		for _, t := range s.more {
			if !yield(t) {
				return
			}
		}
	}
}
