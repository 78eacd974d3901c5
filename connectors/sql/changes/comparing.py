"""Changes by comparing: ranges of keys with their notes, and of those that differ the rows that do."""

from collections.abc import Collection, Iterator, Sequence

from connectors.sql.changes.noting import Split, TableRead
from connectors.sql.changes.ranges import Range
from connectors.sql.table.decoding import Row
from rag.events import Expected, SourceEvent


def compare(read: TableRead, ranges: Sequence[Range]) -> Iterator[SourceEvent]:
    """Refresh the ranges that differ from their notes, a group in as few statements as can be."""
    for start in range(0, len(ranges), read.group_ranges):
        group = ranges[start : start + read.group_ranges]
        if not read.reader.hashes_inside:
            for r in group:
                yield from _read_range(read, r) if read.reader.method.name == "scan" else _refresh(read, [r])
            continue
        sums = [each.get(0, (0, 0)) for each in read.reader.sums([(r.low, r.high) for r in group])]
        pairs = zip(group, sums, strict=True)
        different = [(r, rows) for r, (rows, total) in pairs if (rows, total) != (r.rows, r.total)]
        for r, rows in different:
            if rows > read.refresh_rows:
                yield from _read_range(read, r)
        yield from _refresh(read, [r for r, rows in different if rows <= read.refresh_rows])


def _refresh(read: TableRead, ranges: Sequence[Range]) -> Iterator[SourceEvent]:
    """Yield the rows of ranges that differ, and note the ranges anew."""
    if not ranges:
        return
    splits = [read.split(r) for r in ranges]
    found = _current(read, splits, read.refresh_rows * len(ranges))
    if found is None:
        for r in ranges:
            yield from _read_range(read, r)
        return
    different = [list(filter(split.is_changed, rows)) for rows, split in zip(found, splits, strict=True)]
    yield Expected(documents=sum(map(len, different)))
    left = list(zip(splits, found, different, strict=True))
    while left:
        number, most = 1, read.reader.size.rows
        while number < len(left) and sum(len(wanted) for _, _, wanted in left[: number + 1]) <= most:
            number += 1
        part, left = left[:number], left[number:]
        many = sum(len(wanted) for _, _, wanted in part) > most
        keys = [row.key for _, _, wanted in part for row in wanted] if not many else []
        current = {row.name: row for row in read.reader.by_keys(keys)}
        for split, rows, wanted in part:
            grown = len(rows) > read.most_rows and not all(row.key for row in rows)
            if grown or not all(row.name in current for row in wanted):  # gone, under another key, or too many at once
                yield from _read_range(read, split.range)
                continue
            for row in wanted:
                yield read.event(current[row.name])
            split.add([current.get(row.name, row) for row in rows])
            yield from split.end()


def _current(read: TableRead, splits: Sequence[Split], limit: int) -> list[list[Row]] | None:
    """Names and digests of all rows that ranges have now, read only of the buckets that are not as they are noted.

    None when they are more than limit: they have grown meanwhile, or nobody had counted them. A range whose rows may
    have to be told apart by their order, because it has grown, is read whole.
    """
    bounds = [(split.range.low, split.range.high) for split in splits]
    noted = [split.in_buckets() for split in splits]
    among: list[Collection[int]] = [range(read.buckets)] * len(splits)
    at = [number for number, buckets in enumerate(noted) if buckets]
    sums = read.reader.sums([bounds[number] for number in at], buckets=read.buckets) if at else []
    for number, now in zip(at, sums, strict=True):
        if sum(rows for rows, _ in now.values()) <= read.most_rows:
            before = {bucket: _summed(rows) for bucket, rows in noted[number].items()}
            among[number] = {bucket for bucket in before.keys() | now.keys() if before.get(bucket) != now.get(bucket)}
    wanted = [number for number in range(len(splits)) if among[number]]
    found = read.reader.digests(
        [bounds[number] for number in wanted],
        limit=limit + 1,
        among=[among[number] for number in wanted],
        buckets=read.buckets,
    ) if wanted else []  # fmt: skip
    if sum(map(len, found)) > limit:
        return None
    by_number = dict(zip(wanted, found, strict=True))
    return [
        [*by_number.get(number, []), *(row for b, rows in buckets.items() if b not in among[number] for row in rows)]
        for number, buckets in enumerate(noted)
    ]


def _summed(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), sum(row.digest for row in rows)


def _read_range(read: TableRead, r: Range) -> Iterator[SourceEvent]:
    """Read a range whole, in pages; yield the rows whose digest is new, and note it."""
    split = read.split(r)
    for page, _ in read.reader.pages(r.low, r.high):
        yield from map(read.event, filter(split.is_changed, page))
        split.add(page)
    yield from split.end()
