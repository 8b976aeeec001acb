package task

// PrefixHash is one step of a conversation: the hash of its prompt from the beginning
// up to here, and how many bytes that is.
type PrefixHash struct {
	Hash  uint64
	Bytes int
}

// PrefixHashes are a conversation's, shortest prefix first. Two conversations that share
// one share everything before it.
type PrefixHashes []PrefixHash

// Total returns how many bytes the longest prefix has.
func (c PrefixHashes) Total() int {
	if len(c) == 0 {
		return 0
	}
	return c[len(c)-1].Bytes
}
