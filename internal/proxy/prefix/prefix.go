// Package prefix tells by which prefixes of its prompt a conversation is known again.
package prefix

import (
	"hash/maphash"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// chainSeed makes the hashes of this process; they are compared in it only.
var chainSeed = maphash.MakeSeed()

const (
	// maxLinks bounds a chain's memory. Of a longer conversation the last messages
	// count: each link stands for everything before it, too.
	maxLinks = 128
	// headBlock is the least that two prompts must share to count as one
	// conversation.
	headBlock = 512
)

// Hashes returns the links by which the scheduler knows a conversation again:
// after each message, or after each block of a plain prompt. Equal links mean
// equal bytes up to there, of everything that comes before the first token.
// Of the fields keys, which hold that, the first that is there counts. The space is the
// namespace and the endpoint: of different ones nothing is alike.
func Hashes(space string, body rawjson.Object, keys []string) pool.PrefixHashes {
	if raw, _ := body.Raw("cache_prompt"); string(raw) == "false" {
		return nil // it is to be computed anew
	}
	var h maphash.Hash
	h.SetSeed(chainSeed)
	h.WriteString(space)
	for _, key := range []string{"tools", "chat_template_kwargs", "instructions"} { // templates put them first
		raw, _ := body.Raw(key)
		h.Write(raw)
	}
	for _, key := range keys {
		prompt, ok := body.Raw(key)
		if !ok {
			continue
		}
		if key != "prompt" && prompt[0] == '[' {
			return ofMessages(&h, prompt)
		}
		return ofPrompt(&h, prompt)
	}
	return nil
}

func ofMessages(h *maphash.Hash, messages []byte) pool.PrefixHashes {
	var chain pool.PrefixHashes
	total := 0
	rawjson.Each(messages, func(m, _ []byte) bool {
		h.Write(m)
		total += len(m)
		if len(chain) == 2*maxLinks {
			chain = chain[:copy(chain, chain[maxLinks:])]
		}
		chain = append(chain, pool.PrefixHash{Hash: h.Sum64(), Bytes: total})
		return true
	})
	return chain[max(0, len(chain)-maxLinks):]
}

// ofPrompt takes blocks of a size that grows with the prompt by powers of
// two, so that a prompt and its continuation have boundaries in common.
func ofPrompt(h *maphash.Hash, prompt []byte) pool.PrefixHashes {
	block := headBlock
	for len(prompt)/block > maxLinks {
		block *= 2
	}
	var chain pool.PrefixHashes
	for at := 0; at+block <= len(prompt); at += block {
		h.Write(prompt[at : at+block])
		chain = append(chain, pool.PrefixHash{Hash: h.Sum64(), Bytes: at + block})
	}
	return chain
}
