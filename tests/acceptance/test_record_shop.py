"""The sample record shop, read in and asked through the installed program, by HTTP and by the command."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command import SAMPLE, Server, citewell, citewell_json
from tests.support.databases import change
from tests.support.embedded import stop_engine

pytestmark = pytest.mark.timeout(600)  # the whole sample is read in once


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sample, read in by `citewell ingest`; the path of its configuration.

    A twentieth of its rows, because the whole takes minutes; benchmarks/refusal.py asks the same questions of the whole.
    """
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".citewell"))
    config = folder / "citewell.toml"
    change(
        f"sqlite:///{folder / 'chinook.sqlite'}",
        "DELETE FROM PlaylistTrack",
        "DELETE FROM InvoiceLine",
        "DELETE FROM Track WHERE TrackId > 100",
        "DELETE FROM Invoice WHERE InvoiceId > 50",
    )
    done = citewell("ingest", config=config)
    assert done.returncode == 0, done.stderr
    yield config
    stop_engine(folder / ".citewell" / "qdrant")


@pytest.fixture(scope="module")
def server(shop: Path) -> Iterator[Server]:
    with Server(shop) as running:
        yield running


def ask(server: Server, question: str) -> dict[str, Any]:
    response = httpx.post(f"{server.url}/v1/ask", json={"question": question}, timeout=60)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


# Question, the documents that must be cited and no others, and what the answer must say.
QUESTIONS = [
    ("Which albums did AC/DC release?", {"Album/1", "Album/4"}, "Let There Be Rock"),
    ("Who is the sales support agent of customer Luís Gonçalves?", {"Customer/1"}, "Jane Peacock"),
    ("Who composed the track Balls to the Wall?", {"Track/2"}, "U. Dirkschneider"),
    ("What is the e-mail address of Leonie Köhler?", {"Customer/2"}, "leonekohler@surfeu.de"),
    ("Which genre is the track Princess of the Dawn?", {"Track/5"}, "Genre: Rock"),
    ("What is the total of invoice 5?", {"Invoice/5"}, "13.86"),
    ("What is the company of customer 1?", {"Customer/1"}, "Embraer"),
    ("Who does Jane Peacock report to?", {"Employee/3"}, "Nancy Edwards"),
    ("When was Andrew Adams hired?", {"Employee/1"}, "2002-08-14"),
    ("Which media type does the track Balls to the Wall have?", {"Track/2"}, "Protected AAC audio file"),
    ("Which artist recorded the album Jagged Little Pill?", {"Album/6"}, "Alanis Morissette"),
    ("Who in Calgary reports to Andrew Adams?", {"Employee/2", "Employee/6"}, "Michael"),
    ("How long can an unopened record be returned?", {"handbook/returns.md"}, "30 days"),
    ("Can opened records be refunded in money?", {"handbook/returns.md"}, "do not refund opened records in money"),
    ("How many points does a voucher of 15 dollars cost?", {"handbook/loyalty.md"}, "120 points"),
    ("When does the Edmonton store open?", {"handbook/stores.html"}, "11:00"),
    ("How long is the delivery time to Brazil?", {"handbook/stores.html"}, "12 working days"),
    ("What happens if shellac touches alcohol?", {"handbook/buying-guide.pdf"}, "dissolves shellac"),
    ("员工每年有多少天年假？", {"handbook/员工手册.md"}, "十二天带薪年假"),
    ("员工买唱片打几折？", {"handbook/员工手册.md"}, "七折"),
    ("黑胶唱片应该怎样存放？", {"handbook/员工手册.md"}, "竖直存放"),
    ("收到投诉后多久要回复客户？", {"handbook/员工手册.md"}, "二十四小时"),
    ("AC/DC 发行了哪些专辑？", {"Album/1", "Album/4"}, "Let There Be Rock"),
    ("客户 Luís Gonçalves 的邮箱是什么？", {"Customer/1"}, "luisg@embraer.com.br"),
]


@pytest.mark.parametrize(("question", "cited", "said"), QUESTIONS)
def test_an_answer_says_it_and_cites_the_right_place(server: Server, question: str, cited: set[str], said: str) -> None:
    answer = ask(server, question)
    assert said in answer["text"]
    assert {citation["document_id"] for citation in answer["citations"]} == cited
    for label in re.findall(r"\[((?:[a-z]\d){2,})\]", answer["text"]):
        assert label in {citation["label"] for citation in answer["citations"]}


@pytest.mark.parametrize(
    "question",
    [
        "Which playlist holds the fewest tracks?",
        "How many tracks are there?",
        "What is the longest track?",
        "What is the capital of Mongolia?",
        "Who won the football world cup in 2018?",
        "How do I reset my password?",
        "一共有多少张专辑？",
        "店里的咖啡多少钱？",
        "Wann wurde die Berliner Mauer gebaut?",
    ],
)
def test_what_no_row_and_no_page_says_is_refused(server: Server, question: str) -> None:
    answer = ask(server, question)
    assert answer["refused"]
    assert answer["citations"] == []


def test_a_page_of_a_pdf_is_cited_by_its_number(server: Server) -> None:
    (citation,) = ask(server, "What happens if shellac touches alcohol?")["citations"]
    assert citation["page"] == 4
    assert (
        citation["quote"].replace("\n", " ")
        == "Shellac records must never touch alcohol, because alcohol dissolves shellac."
    )


def test_ingest_and_ask_work_beside_the_service_on_one_folder(server: Server, shop: Path) -> None:
    """Two commands and the service at once; what was ingested is answered at once by all."""
    (shop.parent / "handbook" / "parking.md").write_text(
        "# Parking\n\nThe garage in Turin Street is free for Platinum customers.\n"
    )
    question = "Who may park in the garage in Turin Street?"
    with ThreadPoolExecutor() as pool:
        ingesting = pool.submit(citewell, "ingest", config=shop)
        asking = [pool.submit(ask, server, "Which albums did AC/DC release?") for _ in range(20)]
        printed = pool.submit(citewell, "ask", "Who does Jane Peacock report to?", "--json", config=shop)
        assert ingesting.result().returncode == 0
        assert all(len(answer.result()["citations"]) == 2 for answer in asking)
        assert json.loads(printed.result().stdout)["citations"][0]["document_id"] == "Employee/3"
    assert "Platinum" in ask(server, question)["text"]
    assert "Platinum" in citewell_json("ask", question, config=shop)["text"]
    (shop.parent / "handbook" / "parking.md").unlink()
    citewell("ingest", "handbook", config=shop)
    assert ask(server, question)["refused"]


def test_the_service_ends_cleanly_on_sigterm(shop: Path) -> None:
    with Server(shop) as running:
        ask(running, "Who does Jane Peacock report to?")
        running.process.terminate()
        assert running.process.wait(timeout=30) == 0


def test_python_opens_the_same_knowledge_base(shop: Path) -> None:
    code = f"from service import connect; kb = connect({str(shop)!r}); print(kb.ask('What is the total of invoice 5?').text)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "13.86" in done.stdout, done.stderr
