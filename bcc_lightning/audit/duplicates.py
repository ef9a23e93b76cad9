"""Copies of the same image: byte-identical, re-encoded, resized, flipped or rotated.

Near copies are searched in two steps. Features that no rotation or flip changes give each image a few neighbours, which are then
compared pixel by pixel in the best orientation. On the 17,092 cells of PBC the most similar pair of different cells reaches a
correlation of 0.966, while copies with JPEG quality 60, half the size, or both, stay above 0.98.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from bcc_lightning.audit.orientation import Images, invariants, reduce, similarity

Positions = npt.NDArray[np.int64]

SAME = 0.975
"""Correlation above which two images are the same; half-way between different cells (at most 0.966) and copies (from 0.983)."""

RADIUS = 0.13
"""Largest distance of invariants for a comparison; copies stay below 0.08, and one cell in a hundred has a neighbour."""

NEIGHBOURS = 8
MEDOID_SAMPLE = 64


@dataclass(frozen=True)
class Copy:
    """An image that is a copy of another.

    Attributes:
        original: position of the image with which its group is compared.
        copy: position of the other one.
        score: correlation of the pixels, 1 for identical bytes.
        orientation: index into `ORIENTATIONS`.
    """

    original: int
    copy: int
    score: float = 1.0
    orientation: int = 0


@dataclass(frozen=True)
class Copies:
    """All copies among N cells.

    Attributes:
        identical: byte-identical cells, each paired with the first of its group.
        near: cells that look the same, each paired with the most typical of its group; only the first of identical cells is used.
        group: (N,) int64, position of the cell that represents the group; a cell without copies represents itself.
    """

    identical: list[Copy]
    near: list[Copy]
    group: Positions

    @property
    def unique(self) -> Positions:
        """(M,) positions of one cell of each group, ascending."""
        return np.unique(self.group)


def find_copies(thumbnails: Images, digests: list[bytes], readable: Positions) -> Copies:
    """Find all copies.

    Args:
        thumbnails: (N, S, S, 3) uint8.
        digests: N digests of the stored bytes.
        readable: positions of the cells to compare.
    """
    group = np.arange(len(thumbnails))
    first: dict[bytes, int] = {}
    for position in readable.tolist():
        group[position] = first.setdefault(digests[position], position)
    identical = [Copy(int(group[p]), p) for p in readable.tolist() if group[p] != p]
    distinct = readable[group[readable] == readable]
    images = reduce(thumbnails[distinct])
    near = []
    for members in near_groups(images):
        leader, others, scores, turns = around_medoid(images, members)
        near += [Copy(int(distinct[leader]), int(distinct[o]), s, t) for o, s, t in zip(others, scores, turns, strict=True)]
        group[np.isin(group, distinct[members])] = distinct[leader]
    return Copies(identical, near, group)


def near_groups(images: Images) -> list[Positions]:
    """Return groups of at least two images that look the same, positions ascending."""
    group = np.arange(len(images))
    features = invariants(images) if len(images) else np.empty((0, 1), np.float32)
    leaders = queries = np.arange(len(images))
    while len(queries) and len(leaders) > 1:
        pairs = candidates(features, leaders, queries)
        score, _ = similarity(images[pairs[:, 0]], images[pairs[:, 1]])
        same = pairs[score >= SAME]
        if not len(same):
            break
        graph = coo_matrix((np.ones(len(same)), (same[:, 0], same[:, 1])), shape=(len(images), len(images)))
        component = connected_components(graph, directed=False)[1][group]
        _, start, inverse, sizes = np.unique(component, return_index=True, return_inverse=True, return_counts=True)
        group = group[start][inverse]
        leaders = np.unique(group)
        # In a group larger than the neighbourhood, members may have displaced further copies from the neighbours.
        queries = np.unique(group[start[sizes > NEIGHBOURS]])
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [part for part in parts if len(part) > 1]


def candidates(features: npt.NDArray[np.float32], leaders: Positions, queries: Positions) -> Positions:
    """Return each query with its nearest leaders within the radius: (P, 2), each pair once."""
    count = min(NEIGHBOURS + 1, len(leaders))
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(features[leaders])
    distances, places = search.kneighbors(features[queries])
    query, neighbour = np.repeat(queries, count), leaders[places.ravel()]
    close = (distances.ravel() < RADIUS) & (query != neighbour)
    return np.unique(np.sort(np.stack([query, neighbour], axis=1)[close], axis=1), axis=0)


def around_medoid(images: Images, members: Positions) -> tuple[int, list[int], list[float], list[int]]:
    """Choose the member most similar to the others, and compare all with it.

    An original is between its copies, so it is chosen if it is in the group.

    Returns:
        The chosen member, the others, their correlation with it and their orientations.
    """
    leader = int(members[0])
    if len(members) > 2:  # noqa: PLR2004 - of two, the first in the listing is chosen
        sample = members[:MEDOID_SAMPLE]
        left, right = np.meshgrid(sample, sample, indexing="ij")
        score, _ = similarity(images[left.ravel()], images[right.ravel()])
        leader = int(sample[score.reshape(left.shape).mean(axis=1).argmax()])
    others = members[members != leader]
    score, turns = similarity(images[np.full(len(others), leader)], images[others])
    return leader, others.tolist(), score.tolist(), turns.tolist()
