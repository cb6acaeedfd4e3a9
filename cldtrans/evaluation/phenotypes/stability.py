"""Clusterings, how stable they are under resampling, and how stable they would be of nothing.

The number of clusters is that whose clusterings of bootstrap samples agree most with the clustering of all
persons (Hennig 2007, Comput. Stat. Data Anal. 52:258), beyond what the same procedure finds after each
feature was shuffled among persons by itself, which keeps every feature's distribution and leaves no group.
Many numbers and methods are tried, so it is the best gain of all that is compared with the best gains of
shuffled copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

LEVEL = 0.05
"""Probability of any group where there is none."""
NULLS = 20
"""Shuffled copies; fewer could not reach the level."""
SHARE = 0.1
"""Of the persons, the least that HDBSCAN calls a cluster."""

Clustering = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stability:
    """One clustering of all persons.

    Attributes
    ----------
    method : str
        "kmeans", "agglomerative" or "hdbscan".
    k : int
        Clusters asked for; of HDBSCAN, found.
    labels : array [n] of int
        Of each person; -1: in none.
    stability : float
        Mean adjusted Rand index of bootstrap samples' clusterings with it.
    null : array [copies]
        The same of shuffled copies.
    silhouette, davies_bouldin : float or None
        None where there are fewer than two clusters.
    """

    method: str
    k: int
    labels: np.ndarray
    stability: float
    null: np.ndarray
    silhouette: float | None
    davies_bouldin: float | None


def clustering_of(method: str, k: int, n: int, seed: int) -> Clustering:
    """Return a function from points [m, F] to labels [m]; `n`: persons in all."""
    if method == "kmeans":
        return KMeans(k, n_init=5, random_state=seed).fit_predict
    if method == "agglomerative":
        return AgglomerativeClustering(k, linkage="ward").fit_predict
    return HDBSCAN(min_cluster_size=max(2, round(SHARE * n)), copy=True).fit_predict


def agreement(x: np.ndarray, cluster: Clustering, labels: np.ndarray, resamples: int, seed: int) -> float:
    """Return the mean adjusted Rand index of `labels` with clusterings of bootstrap samples.

    Each sample's persons are counted once: copies are in one cluster whatever it is.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = np.unique(rng.integers(len(x), size=len(x)))
        found.append(adjusted_rand_score(labels[drawn], cluster(x[drawn])))
    return float(np.mean(found))


def stability_of(
    x: np.ndarray, nulls: Sequence[np.ndarray], method: str, k: int, resamples: int, seed: int
) -> Stability:
    """Cluster persons and compare with the same of shuffled copies.

    Parameters
    ----------
    x : array [n, F]
        A point a person.
    nulls : sequence of arrays [n, F']
        Shuffled copies, of which as many samples in all are drawn.
    method : one of "kmeans", "agglomerative", "hdbscan"
        How; see `clustering_of`.
    k : int
        Clusters; HDBSCAN finds their number itself.
    resamples : int
        Bootstrap samples.
    seed : int
        Of everything random.
    """
    cluster = clustering_of(method, k, len(x), seed)
    labels = cluster(x)
    few = max(2, resamples // len(nulls))
    null = [agreement(one, cluster, cluster(one), few, seed + n) for n, one in enumerate(nulls)]
    inside = labels >= 0
    count = len(np.unique(labels[inside]))
    judged = 1 < count < inside.sum()
    return Stability(
        method,
        count,
        labels,
        agreement(x, cluster, labels, resamples, seed) if count > 1 else 0.0,
        np.array(null),
        float(silhouette_score(x[inside], labels[inside])) if judged else None,
        float(davies_bouldin_score(x[inside], labels[inside])) if judged else None,
    )


def chosen(found: Sequence[Stability]) -> tuple[Stability | None, float]:
    """Return the clustering that gains most on its null, None where copies gain as much; and the p-value."""
    gain = np.array([one.stability - one.null.mean() for one in found])
    of_copies = np.max([one.null - one.null.mean() for one in found], axis=0)
    best = int(gain.argmax())
    p = float((1 + (of_copies >= gain[best]).sum()) / (1 + len(of_copies)))
    return (found[best] if p < LEVEL and found[best].k > 1 else None), p
