"""The web page in a real Chromium, over the real service with a real index; the language model is a stub."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Dialog, expect

from tests.acceptance.hostile import HOSTILE_QUESTION, write_hostile
from tests.support.command import SAMPLE, Server, citewell_here, citewell_json
from tests.support.databases import sqlite_with
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine
from tests.support.page.browser import CHROMIUM, MISSING, Browser, Visit
from tests.support.running import wait_until

pytestmark = pytest.mark.skipif(not CHROMIUM, reason=MISSING)
STORES = """# Stores 😀

The Edmonton store opens at 11:00. Parking behind the Edmonton store is free for members. The Calgary store opens at 9:30.
"""
CONFIG = """
[sources.docs]
kind = "files"
paths = ["docs"]
[sources.shop]
kind = "sql"
url = "sqlite:///shop.sqlite"
[sources.hostile]
kind = "files"
paths = ["hostile"]
[sources.long]
kind = "sql"
url = "sqlite:///long.sqlite"
[llm]
urls = ["{url}"]
model = "stub"
max_waiting = 5
"""
Visits = Callable[..., Visit]
Says = Callable[..., None]
OPENING = "When does the Edmonton store open?"


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    with StubEngine() as running:
        yield running


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, engine: StubEngine) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text(STORES, encoding="utf-8")
    for name in ("员工手册.md", "buying-guide.pdf"):
        shutil.copy(SAMPLE / "handbook" / name, folder / "docs")
    with zipfile.ZipFile(folder / "docs" / "<img src=x onerror=hit()>.docx", "w") as broken:
        broken.writestr("word/document.xml", "<broken")
    sqlite_with(
        folder / "shop.sqlite",
        "CREATE TABLE album (AlbumId INTEGER PRIMARY KEY, Title TEXT NOT NULL, Artist TEXT, Liner_notes TEXT)",
        "INSERT INTO album VALUES (4, 'Let There Be Rock', 'AC/DC', 'Recorded in Sydney.'), (6, 'Jagged Little Pill', 'Alanis Morissette', NULL)",
    )
    write_hostile(folder / "hostile")
    sqlite_with(
        folder / "long.sqlite",
        "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO note SELECT i, 'Note ' || i FROM n",
    )
    config = folder / "citewell.toml"
    config.write_text(CONFIG.format(url=engine.url))
    assert citewell_here("ingest", "docs", "shop", "hostile", config=config).returncode == 3  # one document is broken
    yield config
    stop_engine(folder / ".citewell" / "qdrant")


@pytest.fixture(scope="module")
def server(config: Path) -> Iterator[Server]:
    with Server(config) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visits]:
    """Opens the page; options as of a browser's context."""
    opened: list[Visit] = []

    def start(**options: Any) -> Visit:
        opened.append(browser.visit(server.url, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def says(engine: StubEngine) -> Iterator[Says]:
    """Sets what the model answers: text in which {Edmonton} becomes the label of the passage with that word."""

    def set_text(text: str = "", *, behaviour: str = "") -> None:
        def behave(body: dict[str, Any]) -> str:
            if body["messages"][0]["role"] != "system":
                return "says:"  # asked to write a follow-up anew: the service joins it to the question before
            return behaviour or "says:" + re.sub(r"\{(\w+)\}", lambda m: label_of(body, m.group(1)), text)

        engine.behaviour = behave

    set_text("The Edmonton store opens at 11:00 [{Edmonton}].")
    yield set_text
    engine.behaviour = None


def blocks_of(body: dict[str, Any]) -> dict[str, str]:
    """The passages of all of a chat, by label."""
    content = "\n".join(message["content"] for message in body["messages"][1:])
    found = re.split(r"^\[((?:[a-z]\d){2,8})\] ", content, flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


def label_of(body: dict[str, Any], word: str) -> str:
    return next((label for label, text in blocks_of(body).items() if word in text), "z9z9")


def violations(visit: Visit) -> list[str]:
    """What axe-core finds wrong with the page as it is."""
    visit.page.evaluate(AXE_FILE_PATH.read_text())
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]


# Asking.


def test_an_answer_streams_and_stop_closes_it_upstream(visit: Visits, says: Says, engine: StubEngine) -> None:
    page = visit()
    says(behaviour="stub:ttft=0.1,tpot=0.02,tokens=3000")
    before = engine.cancelled
    page.start(OPENING)
    expect(page.page.locator(".turn[data-state=answering] .answer")).to_contain_text("opens at eleven")
    assert page.page.locator(".turn").get_attribute("aria-busy") == "true"
    page.page.click("#stop")
    assert page.ended(1) == "stopped"
    assert "opens at eleven" in page.text(".answer")
    assert page.page.evaluate("document.activeElement.id") == "question"
    wait_until(lambda: engine.cancelled == before + 1, what="the upstream's end")
    assert page.errors == []


def test_a_citation_opens_while_the_answer_still_streams(visit: Visits, says: Says) -> None:
    page = visit()
    says(behaviour="stub:ttft=0.1,tpot=0.02,tokens=3000,text=markdown")
    page.start(OPENING)
    page.page.locator(".turn[data-state=answering] button.cite").first.click()
    assert "opens at 11:00" in page.text("#panel .passage")
    expect(page.page.locator(".answer h4").nth(2)).to_be_attached()  # it goes on
    page.page.keyboard.press("Escape")
    assert page.page.locator("#stop").is_visible()  # that closed the panel only
    page.page.keyboard.press("Escape")
    assert page.ended(1) == "stopped"


def test_a_panel_that_was_opened_early_tells_what_was_used_once_the_answer_is_whole(visit: Visits, says: Says) -> None:
    page = visit()
    says(behaviour="stub:ttft=0.1,tpot=0.02,tokens=80,text=markdown")
    page.start(OPENING)
    page.page.locator(".turn[data-state=answering] button.cite").first.click()
    assert page.page.locator("#panel section h3").first.inner_text() == "Used (0)"
    assert page.ended(1) == "done"
    page.page.locator(".answer button.cite").first.click()
    assert page.page.locator("#panel section h3").first.inner_text() == "Used (1)"
    assert page.page.locator(".passage-choice[aria-current]").count() == 1


def test_markdown_is_rendered_and_a_label_is_never_a_link(visit: Visits, says: Says) -> None:
    page = visit()
    says(
        "# Opening\n\n1. The **Edmonton** store opens at `11:00` [{Edmonton}](https://evil.example/)\n2. Parking is *free* [{Edmonton}]\n\n"
        "| Store | Opens |\n|---|---|\n| Calgary | 9:30 [{Edmonton}] |\n\n```\nx < 1\n```\n\n[the site](https://example.com/a) <b>bold</b>"
    )
    assert page.ask(OPENING) == "done"
    answer = page.page.locator(".answer")
    for selector, text in (
        ("h3", "Opening"), ("ol li strong", "Edmonton"), ("code", "11:00"), ("em", "free"), ("pre code", "x < 1\n"), ("td", "Calgary"),
    ):  # fmt: skip
        assert answer.locator(selector).first.text_content() == text
    assert answer.locator("button.cite").count() == 3
    links = answer.locator("a")
    assert [links.nth(n).get_attribute("href") for n in range(links.count())] == ["https://example.com/a"]
    assert links.first.get_attribute("rel") == "noopener noreferrer nofollow"
    assert "(example.com)" in answer.inner_text()
    assert "<b>bold</b>" in answer.inner_text()


def test_a_refusal_says_what_was_searched_and_what_came_nearest(visit: Visits, says: Says) -> None:
    page = visit()
    assert page.ask("蒙古的首都是哪里？") == "refused"
    assert page.text(".state") == "No evidence found"
    told = page.text(".searched")
    assert "蒙古的首都是哪里？" in told
    assert "all sources" in told
    page.page.click(".searched li button >> nth=0")
    assert page.page.locator("#panel article").is_visible()
    assert page.page.locator("#panel mark").count() == 0


def test_when_the_engine_is_away_quotes_are_told_as_such(visit: Visits, says: Says) -> None:
    page = visit()
    says(behaviour="error")
    assert page.ask(OPENING) == "degraded"
    assert page.text(".state") == "Quoted: the language model is unavailable"
    assert "The Edmonton store opens at 11:00." in page.text(".answer")
    assert page.page.locator(".note").last.is_visible()
    page.page.click(".answer button.cite >> nth=0")
    assert page.text("#panel mark").startswith("The Edmonton store opens at 11:00.")


def test_an_answer_in_which_nothing_stands_on_a_source_is_told_as_such(visit: Visits, says: Says) -> None:
    page = visit()
    says("I do not know.")
    assert page.ask(OPENING) == "unfounded"
    assert page.text(".state") == "No answer in your sources"


def test_a_wide_table_scrolls_by_itself_and_breaks_no_word(visit: Visits, says: Says) -> None:
    page = visit(viewport={"width": 600, "height": 800})
    columns = [f"Column {n}" for n in range(14)]
    says(
        f"It opens at 11:00 [{{Edmonton}}].\n\n| {' | '.join(columns)} |\n|{'---|' * 14}\n| {' | '.join(['remarkable'] * 14)} |"
    )
    assert page.ask(OPENING) == "done"
    wide = page.page.locator(".answer .wide")
    assert wide.evaluate("box => box.scrollWidth > box.clientWidth")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    lines = wide.locator("td").first.evaluate(
        "cell => cell.getBoundingClientRect().height / parseFloat(getComputedStyle(cell).lineHeight)"
    )
    assert lines < 2


def test_an_error_says_how_to_go_on_and_asking_again_works(visit: Visits, says: Says) -> None:
    page = visit()
    says(behaviour="cut")  # ends in the middle of its answer
    assert page.ask(OPENING) == "error"
    assert "Ask again in 2 s." in page.text(".note.bad")
    says("It opens at 11:00 [{Edmonton}].")
    page.page.click("button.retry")
    assert page.ended(1) == "done"
    assert page.page.locator(".note.bad").count() == 0


def test_a_cut_connection_is_told_and_asking_again_works(visit: Visits, says: Says) -> None:
    page = visit()
    page.page.context.set_offline(True)
    assert page.ask(OPENING) == "error"
    assert "could not be reached" in page.text(".note.bad")
    page.page.context.set_offline(False)
    page.page.click("button.retry")
    assert page.ended(1) == "done"


def test_an_edited_question_takes_the_place_of_what_followed_and_the_old_stays_in_the_history(
    visit: Visits, says: Says, engine: StubEngine
) -> None:
    page = visit()
    page.ask(OPENING)
    page.ask("And when does the Calgary store open there?")
    assert OPENING in json.dumps(engine.asked[-1]["messages"])
    page.page.locator("button.edit").first.click()
    page.page.fill(".asked textarea", "Is parking behind the Edmonton store free?")
    page.page.click(".asked button >> nth=0")
    assert page.ended(1) == "done"
    sent = json.dumps(engine.asked[-1]["messages"])
    assert "parking" in sent
    assert OPENING not in sent  # the service has forgotten both turns
    page.page.click("#to-history")
    titles = page.page.locator(".conversations bdi")
    expect(titles).to_have_text(["Is parking behind the Edmonton store free?", f"{OPENING} (before the edit)"])


def test_a_follow_up_is_understood_from_what_was_said_before(visit: Visits, says: Says, engine: StubEngine) -> None:
    page = visit()
    page.ask(OPENING)
    page.ask("Is parking there free?")
    assert OPENING in json.dumps(engine.asked[-1]["messages"])
    assert page.page.locator(".turn").last.locator("q").first.inner_text().startswith(OPENING)


def test_an_answer_is_copied_with_its_sources(visit: Visits, says: Says) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.ask(OPENING)
    page.page.click("button.copy")
    expect(page.page.locator(".turn .buttons [role=status]")).to_have_text("Copied")
    copied = page.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("The Edmonton store opens at 11:00 [1].\n\n[1] Stores 😀 (docs) file:///")
    assert "“The Edmonton store opens at 11:00.”" in copied


def test_the_history_outlives_the_page_is_exported_and_deleted(visit: Visits, says: Says) -> None:
    page = visit()
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.ask(OPENING)
    page.open()
    assert page.page.locator(".turn").count() == 0
    page.page.click("#to-history")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Export all").click()
    (kept,) = json.loads(download.value.path().read_text())
    assert kept["turns"][0]["answer"]["citations"][0]["quote"] == "The Edmonton store opens at 11:00."
    page.page.click(".conversations button.link")
    page.page.click(".answer button.cite")
    assert page.text("#panel mark") == "The Edmonton store opens at 11:00."
    page.page.click("#to-history")
    page.page.get_by_role("button", name="Delete all").click()
    expect(page.page.locator(".conversations li")).to_have_count(0)


# Sources.


def test_a_row_is_shown_as_a_table_with_its_key_and_what_was_said_marked(visit: Visits, says: Says) -> None:
    page = visit()
    says("Let There Be Rock is by AC/DC [{Rock}].")
    page.ask("Who recorded the album Let There Be Rock?")
    page.page.click(".answer button.cite")
    panel = page.page.locator("#panel")
    rows = panel.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[0].replace("\xa0", " ") for row in rows] == [
        "Album id key",
        "Title",
        "Artist",
        "Liner notes",
    ]
    assert panel.locator("mark").all_inner_texts() == ["Let There Be Rock", "AC/DC"]
    facts = panel.locator("dl").inner_text()
    assert "AlbumId = 4" in facts
    assert "shop.sqlite#album?AlbumId=4" in facts
    assert re.search(r"Version\s+[0-9a-f]{32}", facts)


def test_a_page_of_a_pdf_is_shown_with_the_sentence_marked(visit: Visits, says: Says) -> None:
    page = visit()
    says("Alcohol dissolves shellac, so shellac records must never touch it [{Shellac}].")
    page.ask("What happens if shellac touches alcohol?")
    page.page.click(".answer button.cite")
    marked = page.text("#panel mark").replace("\n", " ")
    assert marked == "Shellac records must never touch alcohol, because alcohol dissolves shellac."
    assert re.search(r"Page\s+4", page.text("#panel dl"))


def test_each_place_of_a_citation_opens_its_own_quote(visit: Visits, says: Says) -> None:
    page = visit()
    says("The Calgary store opens at 9:30 [{Edmonton}]. The Edmonton store opens at 11:00 [{Edmonton}].")
    page.ask(OPENING)
    cites = page.page.locator(".answer button.cite")
    assert cites.all_inner_texts() == ["1", "1"]  # one passage
    cites.first.click()
    assert page.text("#panel mark") == "The Calgary store opens at 9:30."
    cites.last.click()
    assert page.text("#panel mark") == "The Edmonton store opens at 11:00."


def test_passages_are_listed_used_and_not_used_with_scores(visit: Visits, says: Says) -> None:
    page = visit()
    page.ask(OPENING)  # the buying guide tells of the Edmonton store too
    page.page.click("button.all-sources")
    headings = page.page.locator("#panel section h3").all_inner_texts()
    used, unused = (int(re.findall(r"\d+", heading)[0]) for heading in headings)
    choices = page.page.locator(".passage-choice")
    assert (used, choices.count()) == (1, used + unused)
    assert unused >= 1
    assert re.search(r"Score \d.*dense 0\.\d", choices.last.inner_text())
    choices.last.click()
    assert page.page.locator(".passage-choice[aria-current]").inner_text() == choices.last.inner_text()


def test_a_citation_s_web_address_is_a_link_and_other_addresses_are_text(visit: Visits, says: Says) -> None:
    page = visit()
    page.ask(OPENING)
    page.page.click(".answer button.cite")
    assert page.page.locator("#panel dl a").count() == 0
    assert "file:///" in page.text("#panel .uri")
    found = page.page.evaluate(
        """async () => {
            const { safeUrl } = await import(document.querySelector("script[type=module]").src.replace("app.js", "dom.js"));
            return ["https://a.example/x", "http://a.example", "mailto:a@b.c", "javascript:alert(1)", "JaVa\\nscript:alert(1)",
                    "data:text/html,x", "file:///etc/passwd", "vbscript:x", "blob:x", "//a.example", "/x", ""].map((each) => safeUrl(each) !== null);
        }"""
    )
    assert found == [True] * 3 + [False] * 9


# Options.


def test_options_reach_the_service_and_outlive_the_page(visit: Visits, says: Says, engine: StubEngine) -> None:
    page = visit()
    page.page.click("#options summary")
    assert "131,072" in page.page.locator("#option-profile option").last.inner_text()
    page.page.select_option("#option-profile", "document")
    for name, value in (("max_tokens", "100"), ("temperature", "0.7"), ("top_p", "0.9"), ("max_passages", "1")):
        page.page.fill(f"#option-{name}", value)
    page.page.check("input[name=source][value=docs]")
    page.page.check("input[name=source][value=shop]")
    page.page.fill("#option-filter", '{"source": "docs"}')
    page.open()
    assert page.page.inner_text("#options summary") == "Options (7 set)"
    assert page.ask(OPENING) == "done"
    sent = engine.asked[-1]
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (100, 0.7, 0.9)
    assert len(blocks_of(sent)) == 1  # of two that tell of the Edmonton store
    page.open()
    assert page.ask("Who recorded the album Let There Be Rock?") == "refused"  # what only the shop knows


def test_an_option_that_cannot_be_read_is_told_before_anything_is_sent(
    visit: Visits, says: Says, engine: StubEngine
) -> None:
    page = visit()
    page.page.click("#options summary")
    page.page.fill("#option-filter", '{"table": ')
    before = len(engine.asked)
    page.start(OPENING)
    expect(page.page.locator("#error-filter")).to_have_text("This is not a JSON object.")
    assert page.page.evaluate("document.activeElement.id") == "option-filter"
    assert page.page.input_value("#question") == OPENING
    assert (page.page.locator(".turn").count(), len(engine.asked)) == (0, before)


def test_an_answer_in_json_is_shown_with_a_citation_for_its_value(
    visit: Visits, says: Says, engine: StubEngine
) -> None:
    page = visit()
    page.page.click("#options summary")
    page.page.check("#option-json")
    schema = {"type": "object", "properties": {"opens": {"type": "string"}}}
    page.page.fill("#option-schema", json.dumps(schema))
    says('{"opens": "11:00"}')
    assert page.ask(OPENING) == "done"
    assert engine.asked[-1]["response_format"]["json_schema"]["schema"] == schema
    assert page.text(".answer pre") == '{\n  "opens": "11:00"\n}'
    assert page.page.locator(".pointers li").inner_text().startswith("/opens")
    page.page.click(".pointers button")
    assert "11:00" in page.text("#panel mark")


def test_each_answer_tells_its_language_tokens_cached_share_and_times(visit: Visits, says: Says) -> None:
    page = visit()
    page.ask(OPENING)
    figures = page.text(".figures")
    assert "Language: English" in figures
    assert "100 prompt tokens (64 % cached), 9 completion tokens" in figures
    assert re.search(r"first token after [\d.]+ s · [\d.]+ s in total", figures)
    says("员工每年有十二天带薪年假 [{年假}]。")
    page.ask("员工每年有多少天年假？")
    assert "Language: Chinese" in page.text(".figures")


# Operators.


def test_an_operator_sees_health_and_sources(visit: Visits) -> None:
    page = visit()
    page.page.click("#to-operate")
    health = page.page.locator(".checks li")
    expect(health).to_have_count(8)  # four sources, state store, index, embedder, language model
    assert {row.get_attribute("data-kind") for row in health.all()} == {
        "source",
        "state",
        "index",
        "embedder",
        "engine",
    }
    expect(page.page.locator("tr[data-source=shop]")).to_be_visible()
    cells = page.page.locator("tr[data-source=shop] td").all_inner_texts()
    assert cells[:3] == ["sql", "2", "2"]
    assert "2 read, 2 added" in cells[3]
    assert re.search(r"[\d.]+ documents/s", cells[4])
    assert (cells[6], cells[7]) == ("not scheduled", "0")


def test_a_check_that_fails_is_told_with_its_reason(visit: Visits, says: Says, engine: StubEngine) -> None:
    page = visit()
    engine.behaviour = lambda body: "error"
    engine_check = page.page.locator(".checks li[data-kind=engine]")
    page.page.click("#to-operate")
    expect(engine_check).to_contain_text("failing", timeout=15_000)  # what was found holds for five seconds
    assert "bad" in (engine_check.get_attribute("class") or "")
    assert "500" in engine_check.inner_text()


def test_an_operator_syncs_and_watches_it_to_its_end(visit: Visits, config: Path) -> None:
    page = visit()
    page.page.click("#to-operate")
    (config.parent / "docs" / "new.md").write_text("# Garage\n\nThe garage opens at 6:00.\n")
    page.page.click("tr[data-source=docs] button.sync")
    job = page.page.locator(".jobs li").first
    expect(job).to_have_attribute("data-status", re.compile("queued|running"))
    expect(job).to_have_attribute("data-status", "done", timeout=60_000)
    expect(job).to_contain_text("1 read, 1 added")
    expect(page.page.locator("tr[data-source=docs] td").nth(1)).to_have_text("4")


def test_a_sync_that_fails_says_why(visit: Visits, config: Path) -> None:
    page = visit()
    page.page.click("#to-operate")
    shop = config.parent / "shop.sqlite"
    away = shop.rename(config.parent / "away.sqlite")
    try:
        page.page.click("tr[data-source=shop] button.sync")
        job = page.page.locator(".jobs li").first
        expect(job).to_have_attribute("data-status", "failed", timeout=60_000)
        expect(job).to_contain_text("There is no SQLite database at")
    finally:
        away.rename(shop)


def test_an_operator_cancels_a_sync(visit: Visits) -> None:
    page = visit()
    page.page.click("#to-operate")
    page.page.click("tr[data-source=long] button.sync")  # several batches: the one under way is finished
    page.page.locator(".jobs li").first.locator(".cancel-job").click()
    expect(page.page.locator(".jobs li").first).to_have_attribute("data-status", "cancelled", timeout=150_000)


def test_what_was_set_aside_is_listed_with_its_reason_and_retried(visit: Visits) -> None:
    page = visit()
    page.page.click("#to-operate")
    row = page.page.locator("#operate-quarantine tbody tr")
    expect(row).to_contain_text("docs: docs/<img src=x onerror=hit()>.docx")
    assert len(row.locator("td").first.inner_text()) > 10
    page.page.click("button.retry-source")
    job = page.page.locator(".jobs li").first
    expect(job).to_contain_text("docs")
    expect(job).to_have_attribute("data-status", "done", timeout=60_000)
    assert page.errors == []


# For people.


def test_the_page_speaks_chinese_where_the_browser_does_and_keeps_the_choice(visit: Visits, says: Says) -> None:
    page = visit(locale="zh-CN")
    assert page.page.inner_text("#send") == "提问"
    assert page.page.evaluate("document.documentElement.lang") == "zh-CN"
    says("员工每年有十二天带薪年假 [{年假}]。")
    assert page.ask("员工每年有多少天年假？") == "done"
    assert (page.text(".state"), "语言：中文" in page.text(".figures")) == ("已完成", True)
    page.page.select_option("#language", "en")
    expect(page.page.locator(".state")).to_have_text("Done")  # what is shown already is told anew
    page.open()
    assert page.page.inner_text("#send") == "Ask"
    english, chinese = page.page.evaluate(
        """async () => {
            const { WORDS } = await import(document.querySelector("script[type=module]").src.replace("app.js", "language.js"));
            return [WORDS.en, WORDS.zh].map((words) => Object.keys(words).sort());
        }"""
    )
    assert english == chinese


def test_all_can_be_done_with_the_keyboard(visit: Visits, says: Says) -> None:
    page = visit()
    keys = page.page.keyboard
    keys.press("/")
    assert page.page.evaluate("document.activeElement.id") == "question"
    keys.type(OPENING)
    keys.press("Shift+Enter")
    assert page.page.input_value("#question") == f"{OPENING}\n"
    keys.press("Enter")
    assert page.ended(1) == "done"
    page.page.evaluate("document.body.focus(); document.activeElement.blur()")
    for _ in range(30):
        keys.press("Tab")
        if page.page.evaluate("document.activeElement.className") == "cite":
            break
    keys.press("Enter")
    assert page.page.evaluate("document.activeElement.id") == "panel-title"
    keys.press("Escape")
    assert not page.page.locator("#panel").is_visible()
    assert page.page.evaluate("document.activeElement.className") == "cite"  # back where it was opened from
    says(behaviour="hang")
    page.start(OPENING)
    expect(page.page.locator("#stop")).to_be_visible()
    keys.press("Escape")
    assert page.ended(2) == "stopped"


def test_screen_readers_are_told_the_beginning_and_the_end(visit: Visits, says: Says) -> None:
    page = visit()
    status = page.page.locator("#status[role=status][aria-live=polite]")
    says(behaviour="stub:ttft=0.1,tpot=0.01,tokens=100")
    page.start(OPENING)
    expect(status).to_have_text("Searching …")
    expect(status).to_have_text(re.compile(r"Answer complete, \d sources cited\."))
    assert page.page.locator(".turn").get_attribute("aria-busy") == "false"


def test_dark_is_followed_and_can_be_chosen(visit: Visits) -> None:
    page = visit(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(paper) == "rgb(22, 24, 28)"
    page.page.select_option("#theme", "light")
    assert page.page.evaluate(paper) == "rgb(255, 255, 255)"
    page.open()
    assert page.page.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_phone_s_width_is_enough(visit: Visits, says: Says) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    says(
        "| Store | Opens | Parking | Members | Notes |\n|---|---|---|---|---|\n| Edmonton | at 11:00 | free | yes | "
        + "x" * 80
        + " [{Edmonton}] |"
    )
    page.ask(OPENING)
    assert page.page.evaluate(wide) <= 0
    page.page.click(".cited button")
    box = page.page.locator("#panel").bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 360)
    page.page.click("#panel-close")
    page.open("/#/operate")
    expect(page.page.locator("#operate-sources table")).to_be_visible()
    assert page.page.evaluate(wide) <= 0


def test_a_slow_line_is_enough(visit: Visits, says: Says) -> None:
    page = visit()
    client = page.page.context.new_cdp_session(page.page)
    slow = {"offline": False, "latency": 400, "downloadThroughput": 20_000, "uploadThroughput": 10_000}
    client.send("Network.enable")
    client.send("Network.emulateNetworkConditions", slow)
    page.open()
    assert page.ask(OPENING) == "done"


def test_no_view_breaks_a_rule_of_axe(visit: Visits, says: Says) -> None:
    found: list[str] = []
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        found += violations(page)
        says(
            "# Times\n\n| Store | Opens |\n|---|---|\n| Edmonton | 11:00 [{Edmonton}] |\n\n```\ncode\n```\n\n[a](https://example.com)"
        )
        page.ask(OPENING)
        page.ask("Who won the football world cup in 2018?")
        page.page.click("#options summary")
        page.page.locator(".answer button.cite").first.click()
        found += violations(page)
        page.page.click("#panel-close")
        page.page.locator("button.edit").first.click()
        page.page.click("#to-history")
        found += violations(page)
        page.page.click("#dialog-close")
        page.page.click("#to-operate")
        expect(page.page.locator("#operate-quarantine tbody tr")).to_be_visible()
        expect(page.page.locator(".checks li").first).to_be_visible()
        found += violations(page)
    assert found == []


# Security.


def test_the_page_allows_itself_nothing_but_its_own_files(server: Server) -> None:
    headers = httpx.get(server.url).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[each] for each in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["trusted-types"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_api_is_described_from_our_own_files_alone(visit: Visits, server: Server) -> None:
    page = visit()
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    page.open("/docs")
    expect(page.page.locator("#ask h2")).to_have_text("POST /v1/ask")
    expect(page.page.locator("#ask")).to_contain_text("question")
    assert page.page.locator("section.turn").count() > 15
    assert all(url.startswith(server.url) for url in asked)
    assert violations(page) == []
    assert page.errors == []
    policy = httpx.get(f"{server.url}/docs").headers["content-security-policy"]
    assert policy == httpx.get(server.url).headers["content-security-policy"]


def test_files_are_compressed_and_kept_until_they_change(server: Server) -> None:
    page = httpx.get(server.url).text
    (script,) = re.findall(r'src="([^"]+/app.js)"', page)
    assert not re.search(r'(src|href)="/', page)  # so that a proxy may serve it below a path
    kept = httpx.get(f"{server.url}/{script}")
    assert kept.headers["content-encoding"] == "gzip"
    assert "immutable" in kept.headers["cache-control"]
    again = httpx.get(f"{server.url}/{script}", headers={"If-None-Match": kept.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    of_before = httpx.get(f"{server.url}/static/0123456789ab/app.js")
    assert (of_before.status_code, of_before.headers["cache-control"]) == (200, "no-cache")
    for outside in ("../../pyproject.toml", "%2e%2e/app.py", "nothing.js", "/etc/passwd"):
        assert httpx.get(f"{server.url}/static/0123456789ab/{outside}").status_code == 404


def test_two_hundred_hostile_documents_run_nothing_load_nothing_and_lead_nowhere(
    visit: Visits, engine: StubEngine, says: Says, server: Server
) -> None:
    page = visit()
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.page.on("dialog", dismiss)
    page.page.add_init_script("window.hit = () => { window.ran = true; }")
    page.open()
    page.page.click("#options summary")
    page.page.select_option("#option-profile", "book")
    page.page.check("input[name=source][value=hostile]")
    engine.behaviour = echo
    assert page.ask(HOSTILE_QUESTION) == "done"
    assert page.text(".answer").count("hit()") >= 200
    page.page.click("button.all-sources")
    assert sorted(page.page.evaluate(_OPEN_ALL)) == list(range(200))
    dangers = [page.page.evaluate(_DANGERS)]
    says(behaviour="error")
    page.page.click("#panel-close")
    assert page.ask(HOSTILE_QUESTION) == "degraded"  # quotes of theirs
    dangers.append(page.page.evaluate(_DANGERS))
    page.open("/#/operate")  # a broken file has markup for its name
    expect(page.page.locator("#operate-quarantine")).to_contain_text("onerror=hit()")
    page.page.click("#to-history")
    page.page.click(".conversations button.link")
    assert page.page.locator(".turn").count() == 2
    dangers.append(page.page.evaluate(_DANGERS))
    assert dangers == [{"ran": False, "elements": [], "links": [], "handlers": 0}] * 3
    assert [url for url in page.requests if not url.startswith((server.url, "about:blank"))] == []
    assert (dialogs, page.errors) == ([], [])


def echo(body: dict[str, Any]) -> str:
    """A model that repeats whatever the documents say, the worst that one can do."""
    return "says:" + "\n\n".join(blocks_of(body).values())


# Opens every passage of the panel, one after the other; gives the shelf of each, which only it names.
_OPEN_ALL = """() => {
    const found = [];
    for (let n = 0; n < document.querySelectorAll(".passage-choice").length; n++) {
        document.querySelectorAll(".passage-choice")[n].click();
        found.push(Number(/Shelf-(\\d+)/.exec(document.querySelector("#panel .passage").textContent)[1]));
    }
    return found;
}"""
_DANGERS = """() => {
    const own = ["script", "style", "link", "meta"];
    const elements = [...document.body.querySelectorAll("img, iframe, object, embed, svg, math, video, audio, base, link, style, script, template")];
    const links = [...document.querySelectorAll("a[href]")].filter((a) => !/^(https?|mailto):/.test(a.href));
    const handlers = [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => /^on/i.test(a.name)));
    return { ran: Boolean(window.ran), elements: elements.map((e) => e.outerHTML), links: links.map((a) => a.href), handlers: handlers.length };
}"""


# Sign-in: from here on the service asks for a key.


@pytest.fixture(scope="module")
def key(server: Server, config: Path) -> str:
    """An administrator's key; with the first key made, the service answers nobody without one."""
    made = citewell_json("keys", "create", "page", "--scope", "admin", config=config)
    wait_until(lambda: httpx.get(f"{server.url}/v1/me").status_code == 401, what="the lock")
    token: str = made["token"]
    return token


def sign_in(page: Visit, key: str) -> None:
    page.page.click("#account")
    page.page.fill("#api-key", key)
    page.page.keyboard.press("Enter")


def test_a_key_signs_in_is_out_of_reach_of_scripts_and_signs_out(visit: Visits, says: Says, key: str) -> None:
    page = visit()
    assert page.page.inner_text("#conversation-note") == "Sign in to ask."
    assert not page.page.locator("#to-operate").is_visible()
    sign_in(page, key[:-1] + "!")
    expect(page.page.locator(".sign-in [role=alert]")).to_have_text("The key was not accepted.")
    assert violations(page) == []
    page.page.fill("#api-key", key)
    page.page.keyboard.press("Enter")
    expect(page.page.locator("#to-operate")).to_be_visible()
    assert page.ask(OPENING) == "done"
    kept = page.page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
    assert "cwk_" not in kept
    (cookie,) = page.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    page.open()  # still signed in
    assert page.page.locator("#to-operate").is_visible()
    page.page.click("#account")
    page.page.get_by_role("button", name="Sign out and delete the history").click()
    expect(page.page.locator("#conversation-note")).to_have_text("Sign in to ask.")
    assert page.page.context.cookies() == []
    sign_in(page, key)
    expect(page.page.locator("#to-operate")).to_be_visible()
    page.page.click("#to-history")
    expect(page.page.locator("#dialog-body")).to_contain_text("None yet.")


def test_a_question_asked_without_a_key_is_asked_once_one_signs_in_and_is_kept_for_nobody_else(
    visit: Visits, says: Says, key: str
) -> None:
    page = visit()
    assert page.ask(OPENING) == "error"
    expect(page.page.locator(".sign-in .note")).to_have_text("Sign in, and the question will be asked.")
    page.page.keyboard.press("Escape")
    page.page.click("#to-history")
    expect(page.page.locator("#dialog-body")).to_contain_text("None yet.")
    page.page.keyboard.press("Escape")
    assert page.ask("When does the Calgary store open?") == "error"
    page.page.fill("#api-key", key)
    page.page.keyboard.press("Enter")
    expect(page.page.locator(".turn").last).to_have_attribute(
        "data-state", re.compile("done|unfounded"), timeout=30_000
    )
    assert page.page.locator(".question").last.inner_text().endswith("When does the Calgary store open?")


def test_a_key_that_has_ended_is_told_and_the_question_is_asked_with_the_next(
    visit: Visits, says: Says, key: str, config: Path, server: Server
) -> None:
    made = citewell_json("keys", "create", "short", config=config)
    page = visit()
    sign_in(page, made["token"])
    expect(page.page.locator("#conversation-note")).to_be_hidden()
    citewell_here("keys", "revoke", made["id"], config=config)
    headers = {"Authorization": f"Bearer {made['token']}"}
    wait_until(lambda: httpx.get(f"{server.url}/v1/me", headers=headers).status_code == 401, what="the key's end")
    assert page.ask(OPENING) == "error"
    expect(page.page.locator(".sign-in .note")).to_contain_text("expired or was revoked")
    page.page.fill("#api-key", key)
    page.page.keyboard.press("Enter")
    expect(page.page.locator(".turn").last).to_have_attribute("data-state", "done", timeout=30_000)


def test_a_key_that_may_only_ask_sees_no_operators_view(visit: Visits, says: Says, key: str, config: Path) -> None:
    asker = citewell_json("keys", "create", "asker", "--source", "docs", config=config)["token"]
    page = visit()
    sign_in(page, asker)
    expect(page.page.locator("#conversation-note")).to_be_hidden()
    page.open("/#/operate")
    assert not page.page.locator("#to-operate").is_visible()
    assert page.page.locator("#ask-view").is_visible()
    page.page.click("#options summary")
    assert page.page.locator("input[name=source]").count() == 0  # one source: nothing to choose


def test_a_key_s_history_is_not_shown_to_another(visit: Visits, says: Says, key: str, config: Path) -> None:
    other = citewell_json("keys", "create", "other", config=config)["token"]
    page = visit()
    sign_in(page, key)
    expect(page.page.locator("#to-operate")).to_be_visible()
    page.ask(OPENING)
    page.page.click("#account")
    page.page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.page.locator("#conversation-note")).to_have_text("Sign in to ask.")
    assert page.page.locator(".turn").count() == 0
    sign_in(page, other)
    expect(page.page.locator("#conversation-note")).to_be_hidden()
    page.page.click("#to-history")
    expect(page.page.locator("#dialog-body")).to_contain_text("None yet.")


def test_the_sign_in_of_the_page_is_of_no_use_to_another_site(server: Server, key: str) -> None:
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/v1/session", json={"key": key}).status_code == 204
        assert client.get("/v1/me").status_code == 401  # a cookie alone, as another site's page would send it
        assert client.get("/v1/me", headers={"X-Citewell-Page": "1"}).status_code == 200
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-citewell-page"}
        assert "access-control-allow-origin" not in client.options("/v1/me", headers=preflight).headers
        behind_tls = client.post("/v1/session", json={"key": key}, headers={"X-Forwarded-Proto": "https"})
        assert "secure" in behind_tls.headers["set-cookie"].lower()
