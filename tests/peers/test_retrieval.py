"""Marks beside scikit-learn's, product codes and cells beside Faiss's."""

import pytest
import torch

from vqdiff_edu.crossmodal.retrieval import CellIndex, Users, average_precision, expected_hits, ranked


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_average_precision_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    scores, relevant = torch.randn(20, 50, generator=seeded(1)), torch.rand(20, 50, generator=seeded(2)) < 0.3
    theirs = [float(metrics.average_precision_score(y, s)) for y, s in zip(relevant.numpy(), scores.numpy())]
    torch.testing.assert_close(average_precision(ranked(scores, relevant)), torch.tensor(theirs, dtype=torch.float64), atol=1e-12, rtol=0)


def test_expected_gain_is_scikit_learns_gain_of_the_probabilities():
    metrics = pytest.importorskip("sklearn.metrics")
    scores, probability = torch.rand(1, 40, generator=seeded(3)), torch.rand(1, 40, generator=seeded(4)).double()
    history = torch.tensor([[0]])
    scores[0, 0], probability[0, 0] = -1, 0
    probability /= probability.sum()
    ours = expected_hits(scores, Users(probability, history, history), k=10)["NDCG@10"].item()
    assert ours == pytest.approx(metrics.dcg_score(probability.numpy(), scores.numpy(), k=10), abs=1e-9)


def test_products_by_table_are_faisss_with_the_same_codebooks():
    faiss = pytest.importorskip("faiss")
    vectors, queries = torch.randn(2000, 16, generator=seeded(5)), torch.randn(10, 16, generator=seeded(6))
    index = CellIndex(vectors, 1, 4, generator=seeded(7))
    theirs = faiss.IndexPQ(16, 4, 8, faiss.METRIC_INNER_PRODUCT)
    theirs.train(vectors.numpy())
    faiss.copy_array_to_vector(index.books.numpy().ravel(), theirs.pq.centroids)
    theirs.add(vectors[index.order].numpy())
    values, rows = theirs.search(queries.numpy(), 5)
    for q, value in zip(queries, torch.from_numpy(values)):
        torch.testing.assert_close(index.scores(q, [slice(0, 2000)]).topk(5).values, value, atol=1e-4, rtol=1e-4)


def test_cells_find_what_faiss_finds_with_the_same_centres():
    faiss = pytest.importorskip("faiss")
    vectors, queries = torch.randn(2000, 8, generator=seeded(8)), torch.randn(20, 8, generator=seeded(9))
    vectors, queries = (torch.nn.functional.normalize(x, dim=1) for x in (vectors, queries))
    index = CellIndex(vectors, 16, None, generator=seeded(10))
    coarse = faiss.IndexFlatL2(8)
    coarse.add(index.centres.numpy())
    theirs = faiss.IndexIVFFlat(coarse, 8, 16, faiss.METRIC_INNER_PRODUCT)
    theirs.is_trained, theirs.nprobe = True, 3
    theirs.add(vectors.numpy())
    rows = theirs.search(queries.numpy(), 5)[1]
    assert [index.search(q, 5, probes=3).tolist() for q in queries] == rows.tolist()
