package platform

import "hash/fnv"

// Animal is an emoji that stands for a person: its name as Slack has it, and the sign.
type Animal struct{ Name, Sign string }

// AnimalOf returns the animal of a person, always the same for the same seed.
func AnimalOf(seed string) Animal {
	all := [...]Animal{
		{"fox_face", "🦊"}, {"bear", "🐻"}, {"panda_face", "🐼"}, {"koala", "🐨"}, {"tiger", "🐯"}, {"lion_face", "🦁"}, {"cow", "🐮"}, {"pig", "🐷"},
		{"frog", "🐸"}, {"monkey_face", "🐵"}, {"chicken", "🐔"}, {"penguin", "🐧"}, {"bird", "🐦"}, {"hatched_chick", "🐥"}, {"wolf", "🐺"},
		{"boar", "🐗"}, {"horse", "🐴"}, {"unicorn_face", "🦄"}, {"honeybee", "🐝"}, {"butterfly", "🦋"}, {"snail", "🐌"}, {"beetle", "🐞"},
		{"turtle", "🐢"}, {"octopus", "🐙"}, {"tropical_fish", "🐠"}, {"dolphin", "🐬"}, {"whale", "🐳"}, {"elephant", "🐘"}, {"camel", "🐫"},
		{"rabbit", "🐰"}, {"mouse", "🐭"}, {"hamster", "🐹"}, {"cat", "🐱"}, {"dog", "🐶"}, {"owl", "🦉"}, {"eagle", "🦅"},
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed))
	return all[h.Sum32()%uint32(len(all))]
}
