"""Training speed beside other busy processes, by how OpenMP's threads wait for one another.

A thread that has reached a barrier spins until the others arrive. Where another process holds their core, it spins in vain. Each
setting trains the quickstart's network at rest and beside one and two busy processes, in turn, several times.
A fair share is what the threads of the training would get if all threads on the machine had equally much of it.

    python benchmarks/shared_machine.py --seconds 6 --rounds 3
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

SETTINGS: dict[str, dict[str, str]] = {
    "the default of OpenMP": {},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
LOADS = (0, 1, 2)
BUSY = "while True: pass"
WARM_UP = 3


def train(seconds: float) -> None:
    """Train on one batch for so long and print images per second."""
    import torch
    from torch.nn.functional import cross_entropy

    from bcc_lightning import EfficientSwin

    torch.manual_seed(0)
    network = EfficientSwin(class_names=[f"class {number}" for number in range(8)], image_size=32, pretrained=False).network
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images, labels = torch.rand(32, 3, 32, 32), torch.arange(32) % 8
    steps, start = 0, 0.0
    while steps <= WARM_UP or time.perf_counter() - start < seconds:
        if steps == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
    print((steps - WARM_UP) * len(images) / (time.perf_counter() - start))


def images_per_second(setting: dict[str, str], load: int, seconds: float) -> float:
    """Train in a process of its own beside so many busy ones."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    environment = {**inherited, **setting}
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(load)]
    try:
        command = [sys.executable, __file__, "--train", str(seconds)]
        return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    finally:
        for process in busy:
            process.kill()


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train)
        return
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for load in LOADS:
            for name, setting in SETTINGS.items():
                speeds.setdefault((name, load), []).append(images_per_second(setting, load, options.seconds))
    best = max(statistics.median(speeds[name, 0]) for name in SETTINGS)
    cores = len(os.sched_getaffinity(0))
    print("| setting | at rest, of the best | beside one | beside two | of a fair share: one | two |\n|" + "---|" * 6)
    for name in SETTINGS:
        shares = [statistics.median(speeds[name, load]) / best for load in LOADS]
        fair = [shares[load] / (cores / (cores + load)) for load in LOADS[1:]]
        print(f"| {name} | {' | '.join(f'{share:.2f}' for share in (*shares, *fair))} |")


if __name__ == "__main__":
    main()
