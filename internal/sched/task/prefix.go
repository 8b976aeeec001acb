package task

// Link is one step of a conversation: the hash of its prompt from the beginning
// up to here, and how many bytes that is.
type Link struct {
	Hash  uint64
	Bytes int
}

// Chain is a conversation's links, shortest prefix first. Two chains that share
// a link share everything before it.
type Chain []Link

// Total returns how many bytes the whole has.
func (c Chain) Total() int {
	if len(c) == 0 {
		return 0
	}
	return c[len(c)-1].Bytes
}
