#!/usr/bin/env bash
# Train the traveller briefly, whole and without one part at a time: bash docs/findings/ablation.sh CELLS SEED...
# CELLS as for train.sh. JOBS=2 trains two at a time. What is finished is not trained again.
set -euo pipefail
cells=$1
shift
mkdir -p mlruns/findings

fit() { # NAME SEED FLAGS...
  local summary="mlruns/findings/$1-$2.json"
  grep -qs '"status": "FINISHED"' "$summary" || echo "python -m bcc_lightning.fit --exp traveller --data.root $cells/pbc_96 --data.wbcatt $cells/wbcatt" \
    "--data.test_on [$cells/bccd_crops,$cells/segmentation_wbc.csv] --data.image_size 64 --data.num_workers 0 --trainer.max_epochs 3" \
    "--model.test_time none --model.stain reinhard --model.class_shares training ${*:3} --seed_everything $2 --summary $summary"
}

jobs() {
  for seed in "$@"; do
    fit whole "$seed"
    fit plain "$seed" --data.laboratory none --data.augment light --model.stain as_is
    fit without_normalisation "$seed" --model.stain as_is
    fit without_stain "$seed" --data.laboratory "[background,rotation,magnification,tightness,focus,light,noise,compression]"
    fit without_frame "$seed" --data.laboratory "[background,stain,focus,light,noise,compression]" --data.augment light
    fit without_camera "$seed" --data.laboratory "[background,stain,rotation,magnification,tightness]"
    fit without_background "$seed" --data.laboratory "[stain,rotation,magnification,tightness,focus,light,noise,compression]"
    fit frozen_norm "$seed" --model.norm frozen
    fit mixup "$seed" --data.mixing mixup
  done
}

jobs "$@" | xargs -P "${JOBS:-1}" -I{} sh -c '{}'
