"""Differential counts and their agreement as tables in the terminal."""

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from bcc_lightning.printable import plain

PRINTED = 6
"""Slides whose counts are printed."""


def print_differential(found: pd.DataFrame) -> None:
    """Print the differential counts of the first slides."""
    slides = list(dict.fromkeys(found["slide"]))
    for slide in slides[:PRINTED]:
        rows = found[found["slide"] == slide]
        table = Table(title=plain(f"{slide}: {int(rows['count'].sum()):,} cells"))
        for heading in ("class", "count", "share %", "95 % limits", "corrected %", "95 % limits of the corrected"):
            table.add_column(heading, justify="left" if heading == "class" else "right")
        for row in rows.itertuples(index=False, name=None):
            _, name, count, *values = row
            share, low, high, corrected, corrected_low, corrected_high = (100 * value for value in values)
            known = [f"{corrected:.1f}", f"{corrected_low:.1f} to {corrected_high:.1f}"] if np.isfinite(corrected) else ["", ""]
            table.add_row(plain(str(name)), str(count), f"{share:.1f}", f"{low:.1f} to {high:.1f}", *known)
        Console().print(table)
    if len(slides) > PRINTED:
        print(f"{len(slides) - PRINTED} more are in the table")
    if found["corrected"].isna().all():
        print("not corrected: nothing is filed of what the network answers for its validation set; name a run with --run")


def print_agreement(agreement: pd.DataFrame) -> None:
    """Print bias, limits of agreement and correlation by class."""
    table = Table(title=plain(f"network and examiner over {int(agreement['slides'].max())} slides, in percent of the cells"))
    for heading in ("class", "bias", "limits of agreement", "Passing-Bablok slope", "Pearson's r", "kappa"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in agreement.to_dict("records"):
        low, high = row["passing_bablok_slope_low"], row["passing_bablok_slope_high"]
        limits = f"{row['agreement_low']:.1f} to {row['agreement_high']:.1f}"
        slope = f"{row['passing_bablok_slope']:.2f} ({low:.2f} to {high:.2f})"
        table.add_row(plain(row["class"]), f"{row['bias']:+.1f}", limits, slope, f"{row['pearson']:.3f}", f"{row['kappa']:.3f}")
    Console().print(table)
