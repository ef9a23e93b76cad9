#!/usr/bin/env bash
# Train the traveller on two laboratories and test it on the third: bash docs/findings/left_out.sh CELLS SEED...
# CELLS as for train.sh. JOBS=2 trains two at a time. What is finished is not trained again.
set -euo pipefail
cells=$(realpath "$1")
shift
mkdir -p mlruns/findings

# The five classes that all three laboratories have, in a table beside the cells. PBC keeps its sets, the others are divided at random.
classes='basophil|eosinophil|lymphocyte|monocyte|neutrophil'
(cd "$cells" && find pbc_96 -type f) | grep -E "/($classes)/" | sort |
  awk -F/ 'BEGIN { print "path,label,split" } { print $0 "," $(NF - 1) "," $(NF - 2) }' >"$cells/pbc.csv"

jobs() {
  for seed in "$@"; do
    for place in bccd_crops segmentation_wbc pbc; do
      local summary="mlruns/findings/left_out_$place-$seed.json"
      grep -qs '"status": "FINISHED"' "$summary" || echo "python -m bcc_lightning.fit --exp traveller --model.stain reinhard --model.class_shares training --data Mixed" \
        "--data.sets [$cells/pbc.csv,$cells/bccd_crops,$cells/segmentation_wbc.csv] --data.leave_out $place" \
        "--data.balance laboratories --data.laboratory all --data.image_size 96 --data.batch_size 64 --seed_everything $seed --summary $summary"
    done
  done
}

jobs "$@" | xargs -P "${JOBS:-1}" -I{} sh -c '{}'
