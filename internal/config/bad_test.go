package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bad has the whole message for each file in testdata/bad; FILE stands for the
// file's name.
var bad = []struct{ name, want string }{
	{"adapter_no_path", `FILE: adapters.list[0].path: must be set, or source: the adapter's file, or where to get it from`},
	{"adapters_dir_file", `FILE: adapters.dir: "../base.gguf": testdata/base.gguf is not a folder`},
	{"adapters_dir_missing", `FILE: adapters.dir: "nowhere": cannot read testdata/bad/nowhere: no such file or directory`},
	{"alias_empty", `FILE: adapters.list[0].aliases[0]: "": must be set: a further name of the adapter`},
	{"alias_own", `FILE: adapters.list[0].aliases[0]: "a": is the adapter's own name`},
	{"alias_reserved", `FILE: adapters.list[0].aliases[0]: "a@b": '@' is not allowed in names: requests compose adapters with it`},
	{"alias_taken", `FILE: adapters.list[1].aliases[1]: "x": already used by adapters.list[0].aliases[0]`},
	{"args_embeddings", `FILE: workers.args[0]: "--embeddings": --embeddings is not yours to set: llama-server would serve that and end at the first completion`},
	{"args_equals", `FILE: workers.args[0]: "--lora=x.gguf": --lora is not yours to set: the gateway loads and applies the adapters: use adapters instead`},
	{"args_model", `FILE: workers.args[2]: "-m": -m is not yours to set: set model.name and model.path instead`},
	{"args_port", `FILE: workers.args[0]: "--port": --port is not yours to set: the gateway reaches its workers over sockets of its own`},
	{"args_underscore", `FILE: workers.args[0]: "--ctx_size": --ctx-size is not yours to set: set workers.context instead`},
	{"admin_listen", `FILE: admin.listen: ":8081": has no host: use 0.0.0.0:8081 to listen on all addresses`},
	{"concurrency_negative", `FILE: adapters.list[0].max_concurrency: -1: must be from 0 to 2147483647; 0 is no bound`},
	{"devices_empty", `FILE: workers.devices[0]: "": must be a device's name, as llama-server --list-devices shows them`},
	{"devices_twice", `FILE: workers.args[0]: "--device": --device is not yours to set beside workers.devices`},
	{"quantum_small", `FILE: scheduler.quantum: "9ms": must be auto or at least 10ms`},
	{"kv", `FILE: workers.kv: "shared": must be auto, unified or split`},
	{"mps", `FILE: workers.mps: "on": must be auto or off`},
	{"limits_memory", `FILE: limits.memory: "2MiB": must be 0 or at least 3 times limits.body, 3145728 bytes`},
	{"auth_hosts", `FILE: auth.hosts[0]: "llm.lan:8080": must be a host's name or address, without a port`},
	{"memory_reserve", `FILE: workers.memory_reserve: "-1GiB": must not be negative`},
	{"memory_limit", `FILE: workers.memory_limit: "-1GiB": must not be negative`},
	{"quantum_text", `FILE: scheduler.quantum: "automatic": must be auto or a duration such as 500ms, 60s or 2m`},
	{"spread_negative", `FILE: scheduler.scale_out_after: "-1s": must not be negative`},
	{"weight_nan", `FILE: adapters.list[0].weight: .nan: must be from 0.1 to 10`},
	{"weight_small", `FILE: adapters.list[0].weight: 0: must be from 0.1 to 10`},
	{"duration_bool", `FILE: limits.drain: true: must be a duration such as 500ms, 60s or 2m`},
	{"duration_negative", `FILE: limits.drain: "-5s": must not be negative`},
	{"duration_no_unit", `FILE: workers.stop_timeout: 10: needs a unit, as in 500ms, 60s or 2m`},
	{"duration_quoted_no_unit", `FILE: workers.stop_timeout: "10": needs a unit, as in 500ms, 60s or 2m`},
	{"duration_text", `FILE: limits.drain: "soon": must be a duration such as 500ms, 60s or 2m`},
	{"duration_zero", `FILE: limits.read: "0s": must be more than 0`},
	{"listen_host", `FILE: listen: "a b:80": "a b" is neither an address nor a host's name`},
	{"listen_ipv6", `FILE: listen: "::1:80": must be host:port, as in 127.0.0.1:8080`},
	{"listen_no_host", `FILE: listen: ":8080": has no host: use 0.0.0.0:8080 to listen on all addresses`},
	{"listen_no_port", `FILE: listen: "localhost": must be host:port, as in 127.0.0.1:8080`},
	{"listen_port", `FILE: listen: "127.0.0.1:65536": the port must be a number from 0 to 65535`},
	{"listen_port_name", `FILE: listen: "127.0.0.1:http": the port must be a number from 0 to 65535`},
	{"log_format", `FILE: log.format: "xml": must be text or json`},
	{"log_level", `FILE: log.level: "INFO": must be debug, info, warn or error`},
	{"log_level_number", `FILE: log.level: 4: must be debug, info, warn or error`},
	{"model_missing", `FILE: model.path: must be set: the base model's GGUF file`},
	{"model_path_folder", `FILE: model.path: "../adapters": testdata/adapters is not a file`},
	{"model_path_magic", `FILE: model.path: "../not.gguf": testdata/not.gguf is not a GGUF file`},
	{"model_path_missing", `FILE: model.path: "nowhere.gguf": cannot read testdata/bad/nowhere.gguf: no such file or directory`},
	{"model_path_tilde", `FILE: model.path: "~/nowhere/base.gguf": cannot read HOME/nowhere/base.gguf: no such file or directory`},
	{"name_at", `FILE: model.name: "demo@v1": '@' is not allowed in names: requests compose adapters with it`},
	{"name_long", `FILE: model.name: "` + strings.Repeat("x", 129) + `": has 129 characters: names have at most 128`},
	{"name_of_base", `FILE: adapters.list[0].name: "demo": already used by model.name`},
	{"name_reserved", `FILE: adapters.list[0].name: "a+b": '+' is not allowed in names: requests compose adapters with it`},
	{"name_space", `FILE: model.name: "my model": ' ' is not allowed in names: use ASCII letters, digits and . _ : / -`},
	{"name_start", `FILE: model.name: "-demo": must begin with an ASCII letter or digit`},
	{"name_twice", `FILE: adapters.list[1].name: "a": already used by adapters.list[0].name`},
	{"name_unicode", `FILE: model.name: "modèle": 'è' is not allowed in names: use ASCII letters, digits and . _ : / -`},
	{"runtime_dir_file", `FILE: workers.runtime_dir: "/dev/null": /dev/null is not a folder`},
	{"runtime_dir_long", `FILE: workers.runtime_dir: "/tmp/` + strings.Repeat("x",
		70) + `": as an absolute path it has 75 bytes: at most 67 leave room for the sockets' names`},
	{"scale_inf", `FILE: adapters.list[0].scale: -.inf: must be a finite number other than 0`},
	{"scale_nan", `FILE: adapters.list[0].scale: .nan: must be a finite number other than 0`},
	{"scale_zero", `FILE: adapters.list[0].scale: 0: must be a finite number other than 0`},
	{"scheduler_max_wait", `FILE: scheduler.max_wait: 0: must be more than 0`},
	{"scheduler_queue", `FILE: scheduler.queue: 0: must be from 1 to 2147483647`},
	{"several", `FILE: worker: unknown key; did you mean workers?` + "\n" +
		`FILE: workers.count: "four": must be auto or a whole number` + "\n" +
		`FILE: listen: "nowhere": must be host:port, as in 127.0.0.1:8080` + "\n" +
		`FILE: model.path: must be set: the base model's GGUF file` + "\n" +
		`FILE: workers.slots: 0: must be auto or from 1 to 256`},
	{"size_fraction", `FILE: limits.body: "1.5MiB": must be a size such as 512KiB, 16MiB or 1GB`},
	{"size_negative", `FILE: limits.body: "-1MiB": must be at least 1KiB`},
	{"size_overflow", `FILE: limits.body: "9999999TiB": is too large`},
	{"size_small", `FILE: limits.body: 1023: must be at least 1KiB`},
	{"size_text", `FILE: limits.text: 1023: must be at least 1KiB`},
	{"size_small_grammar", `FILE: limits.grammar: 1023: must be at least 1KiB`},
	{"size_small_fields", `FILE: limits.fields: 1: must be at least 1KiB`},
	{"size_unit", `FILE: limits.body: "16M": must be a size such as 512KiB, 16MiB or 1GB`},
	{"type_aliases_text", `FILE: adapters.list[0].aliases: "b": must be a list`},
	{"type_args_number", `FILE: workers.args[1]: 99: must be text: put it in quotes`},
	{"type_bool_number", `FILE: workers.self_test: 1: must be true or false`},
	{"type_bool_yes", `FILE: workers.self_test: "yes": must be true or false`},
	{"type_entry_null", `FILE: adapters.list[1]: ~: has no value: give one, or leave the key out`},
	{"type_entry_text", `FILE: adapters.list[0]: "coding": must be a map of keys to values`},
	{"type_int_float", `FILE: workers.count: 4.0: must be auto or a whole number`},
	{"type_int_hex", `FILE: workers.slots: 0x10: write it as a plain decimal number`},
	{"type_int_huge", `FILE: workers.count: 99999999999999999999: must be auto or a whole number`},
	{"type_int_octal", `FILE: workers.count: 010: write it as a plain decimal number`},
	{"type_int_quoted", `FILE: workers.count: "4": must be auto or a whole number`},
	{"type_int_text", `FILE: workers.count: "four": must be auto or a whole number`},
	{"type_list_text", `FILE: adapters.list: "coding": must be a list`},
	{"type_map_for_value", `FILE: listen: a map: must be a single value`},
	{"type_null", `FILE: listen: has no value: give one, or leave the key out`},
	{"type_scale_text", `FILE: adapters.list[0].scale: "big": must be a number`},
	{"type_section_list", `FILE: workers: a list: must be a map of keys to values`},
	{"type_section_text", `FILE: workers: "four": must be a map of keys to values`},
	{"type_text_bool", `FILE: model.name: true: must be text: put it in quotes`},
	{"type_text_date", `FILE: model.name: 2026-01-01: must be text: put it in quotes`},
	{"type_text_number", `FILE: model.name: 7: must be text: put it in quotes`},
	{"unknown_dash", `FILE: workers.self-test: unknown key; did you mean workers.self_test?`},
	{"unknown_dotted", `FILE: workers.count: unknown key: nest keys in sections instead of joining them by dots`},
	{"unknown_in_list", `FILE: adapters.list[0].scael: unknown key; did you mean adapters.list[0].scale?`},
	{"unknown_nested", `FILE: workers.cuont: unknown key; did you mean workers.count?`},
	{"unknown_no_hint", `FILE: workers.colour: unknown key`},
	{"unknown_number", `FILE: 8080: unknown key`},
	{"unknown_top", `FILE: worker: unknown key; did you mean workers?`},
	{"unknown_uppercase", `FILE: workers.Count: unknown key; did you mean workers.count?`},
	{"unknown_wrong_section", `FILE: slots: unknown key; did you mean workers.slots?`},
	{"workers_command", `FILE: workers.command: "": must be set: the llama-server program`},
	{"workers_context", `FILE: workers.context: 63: must be at least 64`},
	{"workers_context_total", `FILE: workers.context: 500000000: times 8 slots it must be at most 2147483647`},
	{"workers_count", `FILE: workers.count: 0: must be auto or from 1 to 64`},
	{"workers_count_most", `FILE: workers.count: 65: must be auto or from 1 to 64`},
	{"workers_slots", `FILE: workers.slots: 257: must be auto or from 1 to 256`},
	{"yaml_alias", `FILE: log: a map: YAML's anchors and aliases are not supported: write the value out` + "\n" +
		`FILE: limits: *l: YAML's anchors and aliases are not supported: write the value out`},
	{"yaml_duplicate_key", `FILE: workers.count: 2: given twice, on lines 3 and 5`},
	{"yaml_duplicate_section", `FILE: log: a map: given twice, on lines 2 and 3`},
	{"yaml_empty", `FILE: is empty`},
	{"yaml_merge", `FILE: log.<<: unknown key`},
	{"yaml_not_utf8", `FILE: invalid leading UTF-8 octet`},
	{"yaml_null", `FILE: is empty`},
	{"yaml_root_list", `FILE: must be a map of keys to values`},
	{"yaml_root_text", `FILE: must be a map of keys to values`},
	{"yaml_syntax", `FILE: line 1: did not find expected ',' or '}'`},
	{"yaml_tab", `FILE: line 3: found character that cannot start any token`},
	{"yaml_tag", `FILE: workers.count: 3: YAML's tags are not supported`},
	{"adapter_path_and_source", `FILE: adapters.list[0].source: "hf://o/r": cannot be set beside path: the adapter is from one of them`},
	{"adapter_pin", `FILE: adapters.list[0].pin: 1: must be true or false`},
	{"adapter_preload", `FILE: adapters.list[0].preload: "yes": must be true or false`},
	{"admin_name", `FILE: admin.listen: "gateway.internal:8081": can be reached from other machines: set admin.token, for example to what openssl rand -hex 32 prints, or listen on 127.0.0.1`},
	{"rule_no_match", `FILE: rules[0].match: must be set: a name as clients write it, * is any text`},
	{"rule_twice", `FILE: rules[1].match: "a*": already used by rules[0].match: the first rule holds`},
	{"rule_set", `FILE: rules[0].set: "temperature: 1": must be a JSON object such as {"temperature": 0.2}: invalid character 'e' in literal true (expecting 'r')`},
	{"rule_default", `FILE: rules[0].default: "[1]": must be a JSON object such as {"temperature": 0.2}: must be a JSON object`},
	{"cors", `FILE: cors.origins[1]: "app.example": must be an origin such as https://app.example, with no path, or *` + "\n" +
		`FILE: cors.origins[2]: "https://app.example/": must be an origin such as https://app.example, with no path, or *` + "\n" +
		`FILE: cors.origins[3]: "ftp://a": must be an origin such as https://app.example, with no path, or *` + "\n" +
		`FILE: cors.origins[5]: "http://localhost:*/x": must be an origin such as https://app.example, with no path, or *`},
	{"tls_missing", `FILE: tls.cert: "nowhere.pem": cannot read testdata/bad/nowhere.pem: no such file or directory` + "\n" +
		`FILE: tls.key: "../adapters": testdata/adapters is not a file`},
	{"embedder", `FILE: embedders[0].name: "demo": already used by model.name` + "\n" +
		`FILE: embedders[0].path: must be set: the embedder's GGUF file` + "\n" +
		`FILE: embedders[0].kind: "other": must be embedding or reranking` + "\n" +
		`FILE: embedders[0].slots: 0: must be from 1 to 256` + "\n" +
		`FILE: embedders[0].context: 1: must be from 64 to 8388607` + "\n" +
		`FILE: embedders[0].args[0]: "--embeddings": --embeddings is not yours to set: llama-server would serve that and end at the first completion`},
	{"tenant_no_name", `FILE: tenants[0].name: must be set: the tenant's name`},
	{"tenant_name", `FILE: tenants[0].name: "a b": ' ' is not allowed in names: use ASCII letters, digits and . _ : / -`},
	{"tenant_twice", `FILE: tenants[1].name: "a": already used by tenants[0].name`},
	{"tenant_key", `FILE: tenants[0].keys[0]: "secret": must be a SHA-256: 64 hex digits`},
	{"tenant_key_twice", `FILE: tenants[1].keys[0]: "sha256:` + strings.Repeat("A",
		64) + `": already used by tenants[0].keys[0]`},
	{"tenant_weight", `FILE: tenants[0].weight: 0: must be from 0.1 to 10`},
	{"tenant_priority", `FILE: tenants[0].priority: 11: must be from -10 to 10`},
	{"tenant_negative", `FILE: tenants[0].requests_per_minute: -1: must not be negative; 0 is no bound`},
	{"usage_retention", `FILE: usage.retention: "-1h": must not be negative`},
	{"listen_open", `FILE: listen: "0.0.0.0:8080": can be reached from other machines, and no keys are asked for: set tenants, or auth.open to let everybody in, or listen on 127.0.0.1`},
	{"vllm_open", `FILE: catalog.vllm_endpoints: true: lets everybody who can reach 0.0.0.0:8080 change adapters: set admin.token, which these endpoints then ask for`},
	{"admin_open", `FILE: admin.listen: "0.0.0.0:8081": can be reached from other machines: set admin.token, for example to what openssl rand -hex 32 prints, or listen on 127.0.0.1`},
	{"admin_token_number", `FILE: admin.token: must be text: put it in quotes`},
	{"admin_token_reference", `FILE: an anchor is referenced that there is not: put text that begins with * in quotes`},
	{"admin_token_short", `FILE: admin.token: must have at least 16 characters`},
	{"admin_token_space", `FILE: admin.token: must be printable ASCII characters without spaces`},
	{"admin_token_twice", `FILE: admin.token: given twice, on lines 3 and 4`},
	{"catalog_adhoc", `FILE: catalog.adhoc: 1: must be true or false`},
	{"catalog_max_tokens", `FILE: catalog.max_tokens: -1: must be from 0 to 2147483647`},
	{"catalog_vllm_endpoints", `FILE: catalog.vllm_endpoints: "on": must be true or false`},
	{"composition_alias_own", `FILE: compositions[0].aliases[0]: "c": is the composition's own name`},
	{"composition_alias_taken", `FILE: compositions[0].aliases[0]: "demo": already used by model.name`},
	{"composition_concurrency", `FILE: compositions[0].max_concurrency: -1: must be from 0 to 2147483647; 0 is no bound`},
	{"composition_name", `FILE: compositions[0].name: must be set: the name that clients call the composition`},
	{"composition_name_taken", `FILE: compositions[0].name: "a": already used by adapters.list[0].name`},
	{"composition_no_parts", `FILE: compositions[0].parts: must be 1 to 8 adapters`},
	{"composition_parts_empty", `FILE: compositions[0].parts: a list: must be 1 to 8 adapters`},
	{"composition_parts_many", `FILE: compositions[0].parts: a list: must be 1 to 8 adapters`},
	{"composition_parts_room", `FILE: compositions[0].parts: a list: has 2 adapters, but workers.max_loaded lets a worker have 1`},
	{"composition_weight", `FILE: compositions[0].weight: 11: must be from 0.1 to 10`},
	{"digest_odd", `FILE: adapters.list[0].digest: "123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef": must be a SHA-256: 64 hex digits`},
	{"digest_prefix", `FILE: adapters.list[0].digest: "sha1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef": must be a SHA-256: 64 hex digits`},
	{"digest_short", `FILE: adapters.list[0].digest: "23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef": must be a SHA-256: 64 hex digits`},
	{"huggingface_endpoint", `FILE: sources.huggingface.endpoint: "huggingface.co": must be a URL such as https://huggingface.co`},
	{"huggingface_endpoint_secret", `FILE: sources.huggingface.endpoint: "ftp://***@hub/?***": must be a URL such as https://huggingface.co`},
	{"huggingface_token", `FILE: sources.huggingface.token: must be printable ASCII characters without spaces`},
	{"max_loaded_negative", `FILE: workers.max_loaded: -1: must be from 0 to 2147483647`},
	{"max_loaded_pinned", `FILE: workers.max_loaded: 1: must be at least 2, the number of pinned adapters in adapters.list`},
	{"adapter_memory_negative", `FILE: workers.adapter_memory: -1: must not be negative`},
	{"part_base", `FILE: compositions[0].parts[0].adapter: "demo": is the base model: only adapters can be parts`},
	{"part_composition", `FILE: compositions[0].parts[0].adapter: "d": is a composition, by compositions[1].name: only adapters can be parts`},
	{"part_name", `FILE: compositions[0].parts[0].adapter: "a@1": '@' is not allowed in names: requests compose adapters with it`},
	{"part_no_name", `FILE: compositions[0].parts[0].adapter: must be set: an adapter's name`},
	{"part_scale_large", `FILE: compositions[0].parts[0].scale: -100.5: must be from -100 to 100 and not 0`},
	{"part_scale_nan", `FILE: compositions[0].parts[0].scale: .nan: must be from -100 to 100 and not 0`},
	{"part_scale_zero", `FILE: compositions[0].parts[0].scale: 0: must be from -100 to 100 and not 0`},
	{"part_twice", `FILE: compositions[0].parts[2].adapter: "a": already in compositions[0].parts[0].adapter`},
	{"part_unknown", `FILE: compositions[0].parts[0].adaptor: unknown key; did you mean compositions[0].parts[0].adapter?` + "\n" +
		`FILE: compositions[0].parts[0].adapter: must be set: an adapter's name`},
	{"reload_interval", `FILE: workers.reload_interval: "-1s": must not be negative`},
	{"rescan_small", `FILE: adapters.rescan: "9ms": must be 0 or at least 10ms`},
	{"rescan_negative", `FILE: adapters.rescan: "-1s": must be 0 or at least 10ms`},
	{"s3_endpoint", `FILE: sources.s3.endpoint: "http://minio:9000": must be host or host:port, as in minio:9000; sources.s3.insecure says whether it is http`},
	{"s3_insecure", `FILE: sources.s3.insecure: 0: must be true or false`},
	{"s3_port", `FILE: sources.s3.endpoint: "minio:70000": must be host or host:port, as in minio:9000; sources.s3.insecure says whether it is http`},
	{"s3_region", `FILE: sources.s3.region: "us east": must be a region's name, such as us-east-1`},
	{"settle_small", `FILE: adapters.settle: "9ms": must be at least 10ms`},
	{"source_http", `FILE: adapters.list[0].source: "http://example.com/a.gguf": must begin with https://: http:// is only for this machine itself`},
	{"source_nothing", `FILE: adapters.list[0].source: "s3://": nothing follows s3://`},
	{"source_scheme", `FILE: adapters.list[0].source: "ftp://example.com/a.gguf": must be a path, or begin with https://, hf:// or s3://`},
	{"source_secret", `FILE: adapters.list[0].source: "http://***@example.com/a.gguf?***": is not a valid URL`},
	{"source_url", `FILE: adapters.list[0].source: "https:///a.gguf": is not a valid URL`},
	{"sources_max_size", `FILE: sources.max_size: "-1KiB": must be more than 0`},
	{"spare_many", `FILE: workers.spare: 2: must be from 0 to 1`},
	{"state_dir_adapters", `FILE: state.dir: ".././adapters/": is adapters.dir: what is stored would be taken for adapters`},
	{"state_dir_file", `FILE: state.dir: "../base.gguf": testdata/base.gguf is not a folder`},
	{"state_versions", `FILE: state.versions: 0: must be from 1 to 100`},
	{"state_versions_most", `FILE: state.versions: 101: must be from 1 to 100`},
	{"yaml_two_documents", `FILE: line 2: a second YAML document begins here: only one is read`},
}

func TestBadFiles(t *testing.T) {
	covered := map[string]bool{}
	for _, tt := range bad {
		covered[tt.name] = true
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join("testdata", "bad", tt.name+".yaml")
			c, err := load(path, nil)
			if err == nil || c != nil {
				t.Fatalf("got %+v, %v; want nil and an error", c, err)
			}
			home, _ := os.UserHomeDir()
			if want := strings.NewReplacer("FILE", path, "HOME", home).Replace(tt.want); err.Error() != want {
				t.Errorf("got\n%v\nwant\n%s", err, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); !covered[name] {
			t.Errorf("%s: no message is expected of it", file)
		}
	}
}
