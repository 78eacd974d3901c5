"""Requests as qdrant-edge gets them; its objects are compared by what they print."""

from typing import Any

import pytest
import qdrant_edge as qe
from qdrant_client import models as m

from indexes.embedded import translate
from indexes.embedded.translate import Unsupported


def same(made: Any, expected: Any) -> bool:
    return repr(made) == repr(expected)


@pytest.mark.parametrize(("condition", "expected"), [
    (m.FieldCondition(key="a", match=m.MatchValue(value="x")), qe.FieldCondition(key="a", match=qe.MatchValue("x"))),
    (m.FieldCondition(key="a", match=m.MatchAny(any=["x"])), qe.FieldCondition(key="a", match=qe.MatchAny(["x"]))),
    (m.FieldCondition(key="a", match=m.MatchExcept.model_validate({"except": [1]})), qe.FieldCondition(key="a", match=qe.MatchExcept([1]))),
    (m.FieldCondition(key="a", range=m.Range(gte=1, lt=2)), qe.FieldCondition(key="a", range=qe.RangeFloat(gte=1, lt=2))),
    (m.FieldCondition(key="a", range=m.DatetimeRange(gt="2024-01-01T00:00:00Z")),
     qe.FieldCondition(key="a", range=qe.RangeDateTime(gt="2024-01-01T00:00:00+00:00"))),
    (m.IsEmptyCondition(is_empty=m.PayloadField(key="a")), qe.IsEmptyCondition("a")),
    (m.HasIdCondition(has_id=[1]), qe.HasIdCondition({1})),
])  # fmt: skip
def test_a_condition_asks_the_same(condition: Any, expected: Any) -> None:
    assert same(translate.filter_of(m.Filter(must=[condition])), qe.Filter(must=[expected]))


def test_conditions_stay_what_they_are_to_a_filter() -> None:
    a, b = (m.FieldCondition(key=key, match=m.MatchValue(value=1)) for key in "ab")
    ours, theirs = ([kind.FieldCondition(key=key, match=kind.MatchValue(value=1)) for key in "ab"] for kind in (m, qe))
    made = translate.filter_of(m.Filter(must=ours[0], should=[m.Filter(must_not=[ours[1]])]))
    assert (a, b) == tuple(ours)
    assert same(made, qe.Filter(must=[theirs[0]], should=[qe.Filter(must_not=[theirs[1]])]))
    assert translate.filter_of(None) is None


@pytest.mark.parametrize("condition", [
    m.Filter(min_should=m.MinShould(conditions=[], min_count=1)),
    m.Filter(must=[m.IsNullCondition(is_null=m.PayloadField(key="a"))]),
    m.Filter(must=[m.FieldCondition(key="a", match=m.MatchText(text="x"))]),
    m.Filter(must=[m.FieldCondition(key="a", geo_radius=m.GeoRadius(center=m.GeoPoint(lon=0, lat=0), radius=1))]),
])  # fmt: skip
def test_a_condition_that_is_not_served_is_an_error_and_never_left_out(condition: m.Filter) -> None:
    with pytest.raises(Unsupported, match="does not serve"):
        translate.filter_of(condition)


@pytest.mark.parametrize("nearest", [[1.0, 2.0], m.NearestQuery(nearest=[1.0, 2.0])])
def test_a_query_by_vector_is_translated_with_its_limits(nearest: Any) -> None:
    params = m.SearchParams(exact=True, quantization=m.QuantizationSearchParams(rescore=True, oversampling=2.0))
    request = m.QueryRequest(query=nearest, using="dense", limit=3, offset=2, params=params, score_threshold=0.5)
    theirs = qe.SearchParams(
        exact=True, quantization=qe.QuantizationSearchParams(ignore=False, rescore=True, oversampling=2.0)
    )
    assert same(
        translate.query(request),
        qe.QueryRequest(
            limit=3, offset=2, query=qe.Query.Nearest([1.0, 2.0], using="dense"), params=theirs, score_threshold=0.5,
            prefetches=None, filter=None, with_payload=False, with_vector=False,
        ),
    )  # fmt: skip


def test_a_query_by_terms_is_translated() -> None:
    request = m.QueryRequest(query=m.SparseVector(indices=[1, 7], values=[0.5, 1.0]), using="bm25", with_payload=["a"])
    made = translate.query(request)
    assert same(made.query, qe.Query.Nearest(qe.SparseVector([1, 7], [0.5, 1.0]), using="bm25"))
    assert (made.limit, made.with_payload) == (10, ["a"])


@pytest.mark.parametrize(("fusion", "expected"), [
    (m.FusionQuery(fusion=m.Fusion.RRF), qe.Fusion.Rrf(k=2)),
    (m.RrfQuery(rrf=m.Rrf(k=60)), qe.Fusion.Rrf(k=60)),
    (m.RrfQuery(rrf=m.Rrf()), qe.Fusion.Rrf(k=2)),
])  # fmt: skip
def test_lists_that_are_fused_are_fetched_first(fusion: Any, expected: Any) -> None:
    made = translate.query(m.QueryRequest(query=fusion, prefetch=[m.Prefetch(query=[1.0], using="dense", limit=5)]))
    assert same(made.query, expected)
    assert [each.limit for each in made.prefetches] == [5]


@pytest.mark.parametrize("query", [m.FusionQuery(fusion=m.Fusion.DBSF), m.SampleQuery(sample=m.Sample.RANDOM)])
def test_a_query_that_is_not_served_is_an_error(query: Any) -> None:
    with pytest.raises(Unsupported, match="does not serve a query"):
        translate.query(m.QueryRequest(query=query))


def test_a_scroll_gives_the_payload_unless_told_otherwise() -> None:
    assert translate.scroll(m.ScrollRequest(limit=3)).with_payload is True
    assert translate.scroll(m.ScrollRequest(with_payload=False)).with_payload is False
    with pytest.raises(Unsupported):
        translate.scroll(m.ScrollRequest(with_payload=m.PayloadSelectorExclude(exclude=["a"])))


def test_a_collection_is_made_of_named_vectors_in_int8() -> None:
    int8 = m.ScalarQuantization(scalar=m.ScalarQuantizationConfig(type="int8", quantile=0.99, always_ram=True))
    dense = m.VectorParams(size=3, distance=m.Distance.COSINE, on_disk=True, quantization_config=int8)
    sparse = {"bm25": m.SparseVectorParams(modifier="idf"), "raw": m.SparseVectorParams()}
    made = translate.config(m.CreateCollection(vectors={"dense": dense}, sparse_vectors=sparse, on_disk_payload=True))
    assert (made.vectors["dense"].size, made.vectors["dense"].on_disk, made.on_disk_payload) == (3, True, True)
    quantized = qe.ScalarQuantizationConfig(type=qe.ScalarType.Int8, quantile=0.99, always_ram=True)
    assert same(made.vectors["dense"].quantization_config, quantized)
    assert [made.sparse_vectors[name].modifier for name in ("bm25", "raw")] == [qe.Modifier.Idf, None]


@pytest.mark.parametrize("vectors", [
    m.VectorParams(size=3, distance=m.Distance.COSINE),
    {"d": m.VectorParams(size=3, distance=m.Distance.COSINE, quantization_config=m.BinaryQuantization(binary=m.BinaryQuantizationConfig()))},
])  # fmt: skip
def test_vectors_that_are_not_served_are_an_error(vectors: Any) -> None:
    with pytest.raises(Unsupported):
        translate.config(m.CreateCollection(vectors=vectors))


@pytest.mark.parametrize("schema", ["keyword", "integer", m.KeywordIndexParams(type="keyword", is_tenant=True)])
def test_payload_indexes_of_the_kinds_that_we_make_are_served(schema: Any) -> None:
    translate.field_index(m.CreateFieldIndex(field_name="a", field_schema=schema))


def test_a_payload_index_of_another_kind_is_an_error() -> None:
    with pytest.raises(Unsupported, match="'geo'"):
        translate.field_index(m.CreateFieldIndex(field_name="a", field_schema="geo"))


def test_points_may_have_no_payload() -> None:
    translate.points({"batch": {"ids": [1], "vectors": {"dense": [[1.0]]}}})
    translate.points({"points": [{"id": 1, "vector": {"bm25": {"indices": [1], "values": [0.5]}}}]})


def test_points_are_deleted_by_id_and_by_filter() -> None:
    translate.selector(m.PointIdsList(points=[1]))
    translate.selector(m.FilterSelector(filter=m.Filter(must=[m.HasIdCondition(has_id=[1])])))
    with pytest.raises(Unsupported):
        translate.selector(m.FilterSelector(filter=m.Filter(must=[m.IsNullCondition(is_null=m.PayloadField(key="a"))])))


def test_some_of_the_vectors_can_be_asked_for() -> None:
    assert translate.query(m.QueryRequest(with_vector=["dense"])).with_vector == ["dense"]
    assert translate.scroll(m.ScrollRequest(with_vector=True)).with_vector is True


def test_columns_of_unequal_length_are_an_error() -> None:
    batch = {"ids": [1, 2], "vectors": {"dense": [[1.0]]}, "payloads": [{}, {}]}
    with pytest.raises(ValueError, match="shorter"):
        translate.points({"batch": batch})


class Found:
    """A point as qdrant-edge gives it."""

    def __init__(self, vector: Any = None) -> None:
        self.id, self.payload, self.score, self.version, self.vector = 7, {"a": 1}, 0.5, 3, vector


def test_a_point_is_told_in_qdrant_s_json() -> None:
    vectors = {"dense": [1, 2], "bm25": qe.SparseVector([1], [0.5])}
    assert translate.record(Found(vectors)) == {
        "id": 7, "payload": {"a": 1}, "vector": {"dense": [1.0, 2.0], "bm25": {"indices": [1], "values": [0.5]}},
    }  # fmt: skip
    assert translate.record(Found(), scored=True) == {"id": 7, "payload": {"a": 1}, "score": 0.5, "version": 3}
