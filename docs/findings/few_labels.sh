#!/usr/bin/env bash
# Tune a finished traveller on a few labelled cells of another laboratory: bash docs/findings/few_labels.sh CELLS RUN SEED...
# CELLS as for train.sh; RUN is the id of the traveller's run in mlruns/: its name would mean the newest, which is soon one of these.
# JOBS=2 trains two at a time.
# What is finished is not trained again. Each seed draws other cells.
set -euo pipefail
cells=$1 run=$2
shift 2
mkdir -p mlruns/findings

jobs() {
  for seed in "$@"; do
    for number in 10 25 50 100; do
      for tuning in head last:3 full; do
        for place in bccd_crops segmentation_wbc.csv; do
          local summary="mlruns/findings/few_${tuning/:/}_${number}_${place%.csv}-$seed.json"
          grep -qs '"status": "FINISHED"' "$summary" || echo "python -m bcc_lightning.fit --exp traveller --model.stain reinhard --model.class_shares training --model.weights $run" \
            "--data.root $cells/pbc_96 --data.wbcatt $cells/wbcatt --data.few_shot $cells/$place:$number --data.split_seed $seed" \
            "--model.tuning $tuning --model.average none --model.lr 0.0005 --model.test_time none --data.batch_size 16 --data.num_workers 0" \
            "--trainer.max_epochs 15 --trainer.check_val_every_n_epoch 15 --seed_everything $seed --summary $summary"
        done
      done
    done
  done
}

jobs "$@" | xargs -P "${JOBS:-1}" -I{} sh -c '{}'
