#!/usr/bin/env bash
# Train what the pages in this folder report: bash docs/findings/train.sh CELLS SEED...
# CELLS holds pbc_96 (PBC's central 200 pixels at 96), wbcatt and bccd_crops. About three hours on two cores for the seeds 0 1 2.
set -euo pipefail
arms=$(dirname "$0")/arms cells=$1
shift
fit() {
  local name=$1 seed=$2
  shift 2
  local done="mlruns/findings/$name-$seed.json"
  [ -e "$done" ] || python -m bcc_lightning.fit "$@" --data.root "$cells/pbc_96" --seed_everything "$seed" --summary "$done"
}
mkdir -p mlruns/findings
for seed in "$@"; do
  lite=(--exp "$arms/lite0.yaml")
  five=(--exp "$arms/tuned.yaml")
  external=(--data.wbcatt "$cells/wbcatt" --data.test_on "[$cells/bccd_crops]")
  fit lite0 "$seed" "${lite[@]}"
  for arm in lite1 lite2 long lion swin mixed; do fit $arm "$seed" "${lite[@]}" --exp "$arms/$arm.yaml"; done
  fit lion_mixed "$seed" "${lite[@]}" --exp "$arms/lion.yaml" --exp "$arms/mixed.yaml"
  for arm in hybrid efficientswin; do fit $arm "$seed" --exp "$arms/$arm.yaml"; done
  fit tuned "$seed" "${five[@]}" "${external[@]}"
  for arm in frozen wrong_range; do fit $arm "$seed" "${five[@]}" --exp "$arms/$arm.yaml" "${external[@]}"; done
  fit small_cnn "$seed" --exp "$arms/small_cnn.yaml" "${external[@]}"
  # Two more divisions of all cells per seed, for the claim on shuffling.
  for split in 1 2; do fit "split$split" "$seed" "${lite[@]}" --data.split stratified --data.split_seed $((2 * seed + split)); done
done
