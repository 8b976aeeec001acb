package proxy

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

// chain returns the links by which the scheduler knows a conversation again:
// after each message, or after each block of a plain prompt. Equal links mean
// equal bytes up to there, of everything that comes before the first token.
func (r *request) prefixes() pool.PrefixHashes {
	if raw, _ := r.body.Raw("cache_prompt"); string(raw) == "false" {
		return nil // it is to be computed anew
	}
	var h maphash.Hash
	h.SetSeed(chainSeed)
	h.WriteString(r.principal.Namespace() + "\x00" + r.endpoint.at())
	for _, key := range []string{"tools", "chat_template_kwargs", "instructions"} { // templates put them first
		raw, _ := r.body.Raw(key)
		h.Write(raw)
	}
	for _, key := range r.endpoint.prompts {
		prompt, ok := r.body.Raw(key)
		if !ok {
			continue
		}
		if key != "prompt" && prompt[0] == '[' {
			return messagePrefixes(&h, prompt)
		}
		return promptPrefixes(&h, prompt)
	}
	return nil
}

func messagePrefixes(h *maphash.Hash, messages []byte) pool.PrefixHashes {
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

// promptPrefixes takes blocks of a size that grows with the prompt by powers of
// two, so that a prompt and its continuation have boundaries in common.
func promptPrefixes(h *maphash.Hash, prompt []byte) pool.PrefixHashes {
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
