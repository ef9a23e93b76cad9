#!/usr/bin/env bash
# Train the recipes `lite/NAME` once each on 100 cells of each of PBC's eight classes, much shorter than they are, and put them
# beside the published figures: bash docs/findings/lite.sh CELLS, the folder that holds pbc_96. JOBS=2 trains two at a time.
set -euo pipefail
cells=$1
few="--data PBC --data.root $cells/pbc_96 --data.image_size 64 --data.few_shot 100 --data.batch_size 16"

stages() { # LR WEIGHT_DECAY PART ...
  local found=()
  while [ $# -gt 0 ]; do found+=("{\"train\":\"$3\",\"lr\":$1,\"weight_decay\":$2,\"epochs\":3}"); shift 3; done
  (IFS=,; echo "--stages '[${found[*]}]'")
}

jobs() {
  for member in efficientnet_b3 mobilenet_v2 resnet50; do echo "an2dl_$member --trainer.max_epochs 6"; done
  echo "an2dl_efficientnet_v2_m_adam $(stages 0.001 0 head 0.0001 0 last:6 0.00001 0 last:12)"
  echo "an2dl_efficientnet_v2_m_lion $(stages 0.0003 0.015 head 0.0001 0.005 last:6 0.000003 0.0002 last:12)"
  echo "an2dl_vgg16 $(stages 0.001 0 head 0.0001 0 last:3)"
  echo "efficientswin --trainer.max_epochs 6"
  echo "pbc_inception_xception --trainer.max_epochs 6"
  echo "pbc_supcon --model.contrastive_epochs 6 --trainer.max_epochs 10 --data.batch_size 64"
  echo "raabin_mobilenet_v2 --trainer.max_epochs 6"
}

fit="python -m bcc_lightning.fit --exp lite"
jobs | while read -r name flags; do echo "$fit/$name $few $flags"; done | xargs -P "${JOBS:-1}" -d '\n' -I{} sh -c '{}'
sh -c "$fit/an2dl_ensemble --data PBC --data.root $cells/pbc_96 --data.image_size 64 --data.few_shot 100"
python -m bcc_lightning.reproduce --out mlruns/reproduction
