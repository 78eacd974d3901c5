"""The web page in Chromium: how soon it can be used, what it weighs, and whether a long answer keeps it smooth.

    python -m benchmarks.page         (QUICK=1: fewer loads, shorter answers; needs Chromium)

Loads: a browser without and with the page in its cache, on loopback; the times are the browser's own, from the
navigation's begin. Answers: 8,000 tokens from a stub engine at 500 a second, in one paragraph (the worst case: nothing
of it is ever complete) and in Markdown's blocks. A frame is the time between two of the browser's animation callbacks.
Memory: the script heap after a garbage collection, after each of several such answers in one page.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import QUICK, finish
from tests.support.command import Server, citewell
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine
from tests.support.page.browser import CHROMIUM, MISSING, Browser, Visit
from tests.support.running import wait_until

LOADS = 5 if QUICK else 20
TOKENS = 1_000 if QUICK else 8_000
ANSWERS = 2 if QUICK else 4
QUESTION = "When does the Edmonton store open?"
STORES = "# Stores\n\nThe Edmonton store opens at 11:00. Parking in Edmonton is free.\n"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
READY = "Number(document.documentElement.dataset.ready)"
FRAMES = """() => {
    window.longest = 0; window.frames_ = 0; window.watching = true;
    let last = performance.now();
    const next = (now) => {
        window.longest = Math.max(window.longest, now - last); window.frames_ += 1; last = now;
        if (window.watching) requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""


def main() -> None:
    if not CHROMIUM:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder, StubEngine() as engine, Browser() as browser:
        config = Path(folder) / "citewell.toml"
        (config.parent / "docs").mkdir()
        (config.parent / "docs" / "stores.md").write_text(STORES)
        config.write_text(
            f'[sources.docs]\nkind = "files"\npaths = ["docs"]\n[llm]\nurls = ["{engine.url}"]\nmodel = "stub"\n'
        )
        citewell("ingest", config=config)
        with Server(config) as server:
            found = (
                loads(browser, server.url) | answers(browser, server.url, engine) | stop(browser, server.url, engine)
            )
        stop_engine(config.parent / ".citewell" / "qdrant")
    finish(**found)


def loads(browser: Browser, url: str) -> dict[str, Any]:
    cold, warm = [], []
    for _ in range(LOADS):
        visit = browser.visit(url)
        cold.append([visit.page.evaluate(PAINT), visit.page.evaluate(READY)])
        visit.open()
        warm.append([visit.page.evaluate(PAINT), visit.page.evaluate(READY)])
        visit.close()
    found: dict[str, Any] = dict(zip(("sent_bytes", "bytes"), weight(browser, url), strict=True))
    for name, times in (("cold", cold), ("warm", warm)):
        for what, column in zip(("paint", "ready"), zip(*times, strict=True), strict=True):
            found[f"{what}_{name}_ms"] = [round(statistics.median(column)), round(max(column))]
            print(
                f"{what} ({name}): median {statistics.median(column):.0f} ms, longest {max(column):.0f} ms of {LOADS}"
            )
    return found


def weight(browser: Browser, url: str) -> tuple[int, int]:
    """Bytes of the page with all that it loads at its start: as sent, headers included, and unpacked."""
    visit = browser.visit(url)
    client = visit.page.context.new_cdp_session(visit.page)
    sizes = {"sent": 0, "unpacked": 0}
    client.on("Network.loadingFinished", lambda e: sizes.update(sent=sizes["sent"] + int(e["encodedDataLength"])))
    client.on("Network.dataReceived", lambda e: sizes.update(unpacked=sizes["unpacked"] + int(e["dataLength"])))
    client.send("Network.enable")
    client.send("Network.setCacheDisabled", {"cacheDisabled": True})
    visit.open()
    visit.page.wait_for_load_state("networkidle")
    visit.close()
    print(f"weight: {sizes['sent'] / 1000:.0f} kB sent, {sizes['unpacked'] / 1000:.0f} kB unpacked")
    return sizes["sent"], sizes["unpacked"]


def answers(browser: Browser, url: str, engine: StubEngine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in ("plain", "markdown"):
        engine.behaviour = lambda body, text=text: f"stub:ttft=0.1,tpot=0.002,tokens={TOKENS},text={text}"
        visit = browser.visit(url)
        visit.ask(QUESTION)  # what is loaded and compiled once is no part of it
        heap, longest = [], 0.0
        for _ in range(ANSWERS):
            visit.page.click("#new")
            visit.page.evaluate(FRAMES)
            begun = time.monotonic()
            visit.ask(QUESTION)
            seconds = time.monotonic() - begun
            longest = max(longest, visit.page.evaluate("(window.watching = false, window.longest)"))
            heap.append(heap_mb(visit))
        shown = visit.page.locator(".answer").inner_text()
        rate = visit.page.evaluate("window.frames_") / seconds
        print(f"{text}: longest frame {longest:.0f} ms, {rate:.0f} frames/s, {seconds:.1f} s, heap {heap} MB")
        print(f"    {len(shown)} characters shown")
        found |= {
            f"longest_frame_{text}_ms": round(longest),
            f"frames_per_s_{text}": round(rate),
            f"heap_{text}_mb": heap,
        }
        visit.close()
    return found


def heap_mb(visit: Visit) -> float:
    client = visit.page.context.new_cdp_session(visit.page)
    client.send("HeapProfiler.collectGarbage")
    used: float = client.send("Runtime.getHeapUsage")["usedSize"]
    client.detach()
    return round(used / 1e6, 1)


def stop(browser: Browser, url: str, engine: StubEngine) -> dict[str, Any]:
    """How long after a click on Stop the engine's connection is closed."""
    engine.behaviour = lambda body: "stub:ttft=0.1,tpot=0.01,tokens=5000"
    visit = browser.visit(url)
    times = []
    for turn in range(5):
        visit.start(QUESTION)
        visit.page.locator(".turn[data-state=answering]").wait_for()
        closed = engine.cancelled
        begun = time.monotonic()
        visit.page.evaluate("document.getElementById('stop').click()")
        wait_until(partial(_has_closed_more, engine, closed), what="the upstream's end")
        times.append(engine.closed_at[-1] - begun)
        visit.ended(turn + 1)
    visit.close()
    print(f"stop: upstream closed after at most {max(times) * 1000:.0f} ms")
    return {"stop_ms": round(max(times) * 1000)}


def _has_closed_more(engine: StubEngine, closed: int) -> bool:
    return engine.cancelled > closed


if __name__ == "__main__":
    main()
