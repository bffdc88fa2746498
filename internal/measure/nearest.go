package measure

// Nearest returns which of some names a mistyped one comes nearest to, or nothing when none is near: one byte in three may be
// wrong. Of two that are as near it is the one that begins more alike.
func Nearest(name string, among []string) string {
	best, least, alike := "", max(1, (len(name)+1)/3), -1
	for _, known := range among {
		d, begins := Distance(name, known), 0
		for begins < min(len(name), len(known)) && name[begins] == known[begins] {
			begins++
		}
		if d < len(known) && (d < least || d == least && begins > alike) {
			best, least, alike = known, d, begins
		}
	}
	return best
}

// Distance is how many bytes are to be changed, put in, left out, or exchanged with their neighbour to make one word of another.
func Distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
