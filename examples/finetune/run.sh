#!/usr/bin/env bash
# Makes the demo model and its adapters again, from nothing but the tables in topics/.
#
#   ./run.sh            everything, into out/ (gguf files in out/gguf/)
#   SMOKE=1 ./run.sh    the same steps with tiny sizes, to see that all is installed
#   INSTALL=1 ./run.sh  also copies the results to their places in the repository
set -euo pipefail
cd "$(dirname "$0")"
out=${OUT_DIR:-out}
base_args=(--steps "${BASE_STEPS:-6000}" --max-seconds "${BASE_SECONDS:-1000000}")
lora_args=(--steps "${LORA_STEPS:-300}")
corpus_args=(--base-rows 30000 --style-rows 4000)
if [[ -n ${SMOKE:-} ]]; then
  base_args=(--steps 5 --batch 2 --length 128) lora_args=(--steps 5 --batch 2 --length 128)
  corpus_args=(--base-rows 200 --style-rows 40)
fi

echo "== corpus ($SECONDS s)"
python3 corpus.py --out "$out" "${corpus_args[@]}"
if [[ ! -e $out/base/model.safetensors ]]; then # a checkpoint that is there is kept
  echo "== base ($SECONDS s)"
  python3 train_base.py --data "$out" --out "$out/base" "${base_args[@]}"
fi

# name, style, rank. They are small, so all of them share the device at once.
adapters=("coding coding 8" "chat chat 8" "medical medical 8" "legal legal 8" "legal-r4 legal 4" "chat-r16 chat 16")
echo "== adapters ($SECONDS s)"
pids=()
for spec in "${adapters[@]}"; do
  read -r name style rank <<<"$spec"
  python3 train_adapter.py --base "$out/base" --corpus "$out" --style "$style" --rank "$rank" \
    --out "$out/peft/$name" "${lora_args[@]}" >"$out/$name.log" 2>&1 &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
for spec in "${adapters[@]}"; do echo "-- ${spec%% *}"; cat "$out/${spec%% *}.log"; done
((failed == 0)) || { echo "an adapter failed" >&2; exit 1; }

echo "== export ($SECONDS s)"
python3 export.py base "$out/base" "$out/gguf/base.gguf"
for spec in "${adapters[@]}"; do
  name=${spec%% *}
  python3 export.py lora "$out/peft/$name" "$out/gguf/adapters/$name.gguf" --base "$out/base"
done

if [[ -n ${INSTALL:-} ]]; then
  demo=../../deploy/demo tests=../../internal/llamatest/testdata/adapters
  mkdir -p "$demo/adapters" "$tests"
  cp "$out/gguf/base.gguf" "$out/heldout.json" "$out/marks.json" "$demo/"
  for name in coding chat medical legal; do
    cp "$out/gguf/adapters/$name.gguf" "$demo/adapters/"
    mkdir -p "peft/$name"
    cp "$out/peft/$name"/adapter_{config.json,model.safetensors} "peft/$name/"
  done
  cp "$out"/gguf/adapters/{legal-r4,chat-r16}.gguf "$tests/"
fi
echo "== done ($SECONDS s)"
