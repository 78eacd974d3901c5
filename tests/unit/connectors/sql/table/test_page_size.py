"""How many rows are asked for at once."""

from connectors.sql.table.page_size import PageSize


def test_a_first_page_is_short() -> None:
    assert PageSize(1024).rows == 32
    assert PageSize(5).rows == 5


def test_pages_of_short_rows_grow_fourfold_up_to_the_most() -> None:
    size = PageSize(200)
    sizes = []
    for _ in range(3):
        size.learn([(1, "short")])
        sizes.append(size.rows)
    assert sizes == [128, 200, 200]


def test_pages_of_long_rows_come_to_16_mib() -> None:
    size = PageSize(1024)
    size.learn([("x" * (1 << 20),), (b"x" * (1 << 20),)])
    assert size.rows == 16
    size.learn([("x" * (1 << 25),)])
    assert size.rows == 1


def test_values_that_are_no_text_have_a_weight_too() -> None:
    size = PageSize(10**6)
    for _ in range(10):
        size.learn([(1, 2.0)])
    assert size.rows == (16 << 20) // 96


def test_an_empty_page_teaches_nothing() -> None:
    size = PageSize(1024)
    size.learn([])
    assert size.rows == 32
