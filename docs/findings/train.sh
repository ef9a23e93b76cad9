#!/usr/bin/env bash
# Train what the pages in this folder report: bash docs/findings/train.sh CELLS SEED...
# CELLS holds pbc_96 (PBC's central 200 pixels at 96, in its sets), wbcatt, bccd_crops, and segmentation_wbc.csv with path and
# label of the 300 cells of segmentation_wbc's data set 1. JOBS=2 trains two at a time. What is
# finished is not trained again; the runs are kept below mlruns/, their summaries in mlruns/findings/.
set -euo pipefail
arms=$(dirname "$0")/arms cells=$1
shift
mkdir -p mlruns/findings

fit() { # NAME SEED FLAGS...
  local summary="mlruns/findings/$1-$2.json"
  grep -qs '"status": "FINISHED"' "$summary" || echo "$summary" "python -m bcc_lightning.fit ${*:3} --data.root $cells/pbc_96 --seed_everything $2 --summary $summary"
}

jobs() {
  for seed in "$@"; do
    lite="--exp $arms/lite0.yaml"
    five="--exp $arms/tuned.yaml"
    outside="--data.wbcatt $cells/wbcatt --data.test_on [$cells/bccd_crops,$cells/segmentation_wbc.csv]"
    fit lite0 "$seed" "$lite"
    for arm in lite1 lite2 lion mixed; do fit $arm "$seed" "$lite" --exp "$arms/$arm.yaml"; done
    fit lion_mixed "$seed" "$lite" --exp "$arms/lion.yaml" --exp "$arms/mixed.yaml"
    fit hybrid "$seed" --exp "$arms/hybrid.yaml"
    fit small_cnn "$seed" --exp "$arms/small_cnn.yaml" "$outside"
    fit tuned "$seed" "$five" "$outside"
    for arm in frozen wrong_range; do fit $arm "$seed" "$five" --exp "$arms/$arm.yaml" "$outside"; done
    fit traveller "$seed" --exp traveller "$outside"
    fit training_shares "$seed" --exp traveller --model.class_shares training "$outside"
    fit reinhard "$seed" --exp traveller --model.stain reinhard --model.class_shares training "$outside"
    # Beside it, recipes that know nothing of other laboratories, the last cut short.
    fit transfer_lite0 "$seed" --exp transfer_lite0 --data.split wbcatt "$outside"
    fit probe_lite0 "$seed" --exp transfer_lite0 --model.tuning head --data.split wbcatt "$outside"
    fit house "$seed" --exp house --data PBC --data.split wbcatt "$outside" --data.image_size 28
    fit resnet18_28 "$seed" --exp resnet18_28 --data PBC --data.split wbcatt "$outside" --data.image_size 28 --trainer.max_epochs 8
    fit swin "$seed" "$lite" --exp "$arms/swin.yaml"
    fit efficientswin "$seed" --exp "$arms/efficientswin.yaml"
    fit long "$seed" "$lite" --exp "$arms/long.yaml"
    # Two more divisions of all cells per seed, for the claim on shuffling.
    for split in 1 2; do fit "split$split" "$seed" "$lite" --data.split stratified --data.split_seed $((2 * seed + split)); done
  done
}

jobs "$@" | cut -d' ' -f2- | xargs -P "${JOBS:-1}" -I{} sh -c '{}'
