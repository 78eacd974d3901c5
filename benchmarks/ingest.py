"""Full ingest of Chinook: rows and chunks a second, and the share of the embedder's own ceiling.

python -m benchmarks.ingest        (QUICK=1: the album, artist, customer and employee tables only)
"""

import resource
import time

from benchmarks.common import QUICK, finish, sample
from rag.events import Upsert


def main() -> None:
    with sample() as kb:
        if QUICK:
            shop = kb.settings.sources["shop"].model_copy(
                update={"tables": ("Album", "Artist", "Customer", "Employee")}
            )
            object.__setattr__(kb, "settings", kb.settings.model_copy(update={"sources": {"shop": shop}}))
        kb.services.collection.current().index.prepare()
        kb.services.collection.current().embedder.embed(["warm"])
        (report,) = kb.ingest("shop")
        (again,) = kb.ingest("shop")
        texts = [
            event.document.text for event in kb.services.catalogue.connector("shop").read() if isinstance(event, Upsert)
        ]
        some = texts[:: max(len(texts) // 2000, 1)]
        started = time.perf_counter()
        kb.services.collection.current().embedder.embed(some)
        ceiling = len(some) / (time.perf_counter() - started)
        rate = report.chunks_embedded / report.seconds
        finish(
            rows=report.read,
            chunks=report.chunks_embedded,
            seconds=round(report.seconds, 1),
            rows_per_s=round(report.read / report.seconds, 1),
            chunks_per_s=round(rate, 1),
            embedder_ceiling_share=round(rate / ceiling, 3),
            unchanged_seconds=round(again.seconds, 2),
            unchanged_embeds=again.chunks_embedded,
            rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )


if __name__ == "__main__":
    main()
