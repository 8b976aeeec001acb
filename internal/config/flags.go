package config

import "strings"

// Why the gateway owns a flag of llama-server.
const (
	ownModel   = "set model.name and model.path instead"
	ownLora    = "the gateway loads and applies the adapters: use adapters instead"
	ownListen  = "the gateway reaches its workers over sockets of its own"
	ownKey     = "the gateway gives each worker a key of its own"
	ownSlots   = "set workers.slots instead"
	ownContext = "set workers.context instead"
	ownCache   = "the prompt cache outside of slots mixes adapters up"
	ownReuse   = "it answers from KV that was computed for another place of a prompt"
	ownErase   = "the gateway saves and erases slots through it"
	ownUI      = "the gateway's clients cannot reach it"
	ownTools   = "it lets requests do more than inference"
	ownAnswers = "llama-server would serve that and end at the first completion"
	ownRouter  = "a worker serves one model"
	ownSleep   = "a worker that wakes up has forgotten which adapter is applied"
	ownExit    = "llama-server would exit instead of serving"
)

// ownedFlags are the flags that break what the gateway relies on, and why each
// does. llama-server lets the last of a repeated flag win, which ours would be,
// but a setting without effect is a mistake as well.
var ownedFlags = owned(map[string]string{
	ownModel: "-m --model -mu --model-url -hf -hfr --hf-repo -hff --hf-file -hft --hf-token -dr --docker-repo " +
		"-a --alias --embd-gemma-default --fim-qwen-1.5b-default --fim-qwen-3b-default --fim-qwen-7b-default " +
		"--fim-qwen-7b-spec --fim-qwen-14b-spec --fim-qwen-30b-default --gpt-oss-20b-default " +
		"--gpt-oss-120b-default --vision-gemma-4b-default --vision-gemma-12b-default",
	ownLora:    "--lora --lora-scaled --lora-base --lora-init-without-apply",
	ownListen:  "--host --port --reuse-port --api-prefix --ssl-key-file --ssl-cert-file",
	ownKey:     "--api-key --api-key-file",
	ownSlots:   "-np --parallel",
	ownContext: "-c --ctx-size -kvu --kv-unified --kv-unified-per-slot",
	ownCache:   "-cram --cache-ram --cache-idle-slots",
	ownReuse:   "--cache-reuse",
	ownErase:   "--slot-save-path --slots --no-slots",
	ownUI: "--path --ui --webui --no-ui --no-webui --ui-config --webui-config --ui-config-file " +
		"--webui-config-file",
	ownTools: "--tools --tools-runtime --mcp-servers-config --mcp-servers-json -ag --agent --ui-mcp-proxy " +
		"--webui-mcp-proxy",
	ownRouter:  "--models-dir --models-preset --models-max --models-autoload --no-models-autoload",
	ownAnswers: "--embedding --embeddings --rerank --reranking",
	ownSleep:   "--sleep-idle-seconds",
	ownExit:    "-h --help --usage --version -cl --cache-list --list-devices --completion-bash",
})

func owned(reasons map[string]string) map[string]string {
	table := map[string]string{}
	for why, flags := range reasons {
		for flag := range strings.FieldsSeq(flags) {
			table[flag] = why
		}
	}
	return table
}

// ownedFlag returns the flag of ours that arg is, and why it is ours. As
// llama-server does, it takes underscores in long flags for dashes.
func ownedFlag(arg string) (flag, why string, ok bool) {
	flag, _, _ = strings.Cut(arg, "=")
	if strings.HasPrefix(flag, "--") {
		flag = strings.ReplaceAll(flag, "_", "-")
	}
	why, ok = ownedFlags[flag]
	return flag, why, ok
}
